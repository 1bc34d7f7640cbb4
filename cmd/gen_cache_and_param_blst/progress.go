package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"
)

// lineEvery is how often progress is told where it is not drawn.
const lineEvery = 10 * time.Second

// progress shows how far the current stage is: a bar with rate and time left on
// a terminal, a line now and then elsewhere. Its methods are called from one
// goroutine at a time.
type progress struct {
	w        io.Writer
	terminal bool
	bars     *mpb.Progress // of the current stage; nil where there is no terminal
	bar      *mpb.Bar
	stage    string
	begun    time.Time
	told     time.Time
}

func newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, terminal: ok && isTerminal(f)}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// report is a paramtool.Progress.
func (p *progress) report(stage string, done, total uint64) {
	if stage != p.stage {
		p.end()
		p.begin(stage, total)
	}
	if p.bar != nil {
		p.bar.SetCurrent(int64(done))
		return
	}
	if now := time.Now(); done < total && now.Sub(p.told) >= lineEvery {
		p.told = now
		fmt.Fprintln(p.w, line(stage, done, total, now.Sub(p.begun)))
	}
}

// line is the progress of a stage in words.
func line(stage string, done, total uint64, took time.Duration) string {
	rate := float64(done) / max(took.Seconds(), 1e-3)
	left := "?"
	if done > 0 {
		left = time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("%s: %.1f%%, %.1f MB/s, %s left", stage, 100*float64(done)/float64(max(total, 1)), rate/1e6, left)
}

func (p *progress) begin(stage string, total uint64) {
	p.stage, p.begun = stage, time.Now()
	p.told = p.begun
	if !p.terminal {
		return
	}
	p.bars = mpb.New(mpb.WithOutput(p.w), mpb.WithWidth(64))
	p.bar = p.bars.AddBar(int64(total),
		mpb.PrependDecorators(decor.Name(stage+" ")),
		mpb.AppendDecorators(
			decor.Percentage(decor.WCSyncSpace),
			decor.AverageSpeed(decor.SizeB1000(0), " % .1f"),
			decor.Name(" "),
			decor.AverageETA(decor.ET_STYLE_GO),
		),
	)
}

// end finishes the current stage, whole or not, and draws its last state.
func (p *progress) end() {
	if p.bar != nil {
		if !p.bar.Completed() {
			p.bar.Abort(false)
		}
		p.bars.Wait()
	}
	p.bars, p.bar, p.stage = nil, nil, ""
}
