package run

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseLevel(t *testing.T) {
	for in, want := range map[string]slog.Level{
		"":                        slog.LevelInfo,
		"nonsense":                slog.LevelInfo,
		"trace":                   LevelTrace,
		"INFO":                    slog.LevelInfo,
		"warn":                    slog.LevelWarn,
		"off":                     levelOff,
		"info,wdpost=debug":       slog.LevelDebug,
		"error, a::b=warn, bogus": slog.LevelWarn,
	} {
		if got := ParseLevel(in); got != want {
			t.Errorf("ParseLevel(%q) = %v, want %v", in, got, want)
		}
	}
}

func TestLoggerWritesTrace(t *testing.T) {
	var b bytes.Buffer
	NewLogger(&b, "trace").Log(context.Background(), LevelTrace, "got task: x")
	if !strings.Contains(b.String(), "level=TRACE") || !strings.Contains(b.String(), "got task: x") {
		t.Fatalf("log line %q", b.String())
	}
}

func TestSignalsTwoLevels(t *testing.T) {
	soft, hard, release := Signals(context.Background())
	defer release()
	kill := func() {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	kill()
	<-soft.Done()
	if !errors.Is(context.Cause(soft), ErrStopping) || hard.Err() != nil {
		t.Fatalf("after one signal: soft cause %v, hard %v", context.Cause(soft), hard.Err())
	}
	time.Sleep(sameInstant) // real signals: the next one is another
	kill()
	<-hard.Done()
	if !errors.Is(context.Cause(hard), ErrStopNow) {
		t.Fatalf("after two signals: cause %v", context.Cause(hard))
	}
}

// TestOperatorF15: equal signals of one instant are one signal.
func TestOperatorF15(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch, done := make(chan os.Signal), make(chan struct{})
		calls := make(chan string, 2)
		go two(ch, done, func() { calls <- "first" }, func() { calls <- "second" })
		for range 3 {
			ch <- syscall.SIGTERM
		}
		synctest.Wait()
		if len(calls) != 1 {
			t.Fatalf("three signals at once called %d times", len(calls))
		}
		time.Sleep(sameInstant)
		ch <- syscall.SIGTERM
		synctest.Wait()
		if len(calls) != 2 {
			t.Error("a later signal was not the second")
		}
	})
}

// TestHangup: SIGHUP is passed on and ends nothing, then and afterwards.
func TestHangup(t *testing.T) {
	hup, stop := Hangups()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	<-hup
	stop()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func TestLevelAtRunTime(t *testing.T) {
	var b bytes.Buffer
	log, level := NewLeveledLogger(&b, "warn")
	log.Info("unheard")
	level.Set(slog.LevelInfo)
	log.Info("heard")
	if strings.Contains(b.String(), "unheard") || !strings.Contains(b.String(), "heard") {
		t.Errorf("log %q", b.String())
	}
}

func TestDebugServes(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "answer"}, func() float64 { return 42 }))
	sick := errors.New("database is away")
	d := Debug{Registry: reg, Health: func(context.Context) error { return sick }}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- ServeHTTP(ctx, lis, d.Handler()) }()
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	get := func(path string) (int, string) {
		res, err := client.Get("http://" + lis.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "answer 42") {
		t.Errorf("/metrics: %d %q", code, body)
	}
	if code, body := get("/healthz"); code != 503 || !strings.Contains(body, sick.Error()) {
		t.Errorf("/healthz: %d %q", code, body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatalf("orderly end: %v", err)
	}
}
