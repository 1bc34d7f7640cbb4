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
	from     uint64 // of the stage, done when it was first reported
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

// Write writes a message of its own line, below what is drawn of the stage.
func (p *progress) Write(message []byte) (int, error) {
	p.end()
	return p.w.Write(message)
}

// report is a keytool.Progress.
func (p *progress) report(stage string, done, total uint64) {
	if stage != p.stage {
		p.end()
		p.begin(stage, done, total)
	}
	if p.bar != nil {
		p.bar.SetCurrent(int64(done))
		return
	}
	if now := time.Now(); done < total && now.Sub(p.told) >= lineEvery {
		p.told = now
		fmt.Fprintln(p.w, line(stage, p.from, done, total, now.Sub(p.begun)))
	}
}

// line is the progress of a stage in words; from was done before it took any
// time.
func line(stage string, from, done, total uint64, took time.Duration) string {
	return fmt.Sprintf("%s: %.1f%%, %s", stage, 100*float64(done)/float64(max(total, 1)), pace(from, done, total, took))
}

// pace is rate and time left.
func pace(from, done, total uint64, took time.Duration) string {
	rate := float64(done-from) / max(took.Seconds(), 1e-3)
	left := "?"
	if done > from {
		left = time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second).String()
	}
	return fmt.Sprintf("%.1f MB/s, %s left", rate/1e6, left)
}

func (p *progress) begin(stage string, from, total uint64) {
	p.stage, p.from, p.begun = stage, from, time.Now()
	p.told = p.begun
	begun := p.begun // the bar is drawn by a goroutine of its own
	if !p.terminal {
		return
	}
	p.bars = mpb.New(mpb.WithOutput(p.w), mpb.WithWidth(64))
	p.bar = p.bars.AddBar(int64(total),
		mpb.PrependDecorators(decor.Name(stage+" ")),
		mpb.AppendDecorators(
			decor.Percentage(decor.WCSyncSpace),
			decor.Name(" "),
			decor.Any(func(at decor.Statistics) string {
				return pace(from, max(from, uint64(at.Current)), uint64(at.Total), time.Since(begun))
			}),
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
