//go:build soak

package main

import (
	"net"
	"sync"
	"testing"
	"time"
)

// proxy forwards connections to a master and can swallow everything for a
// while, as a network does that is cut.
type proxy struct {
	lis net.Listener
	to  string

	mu   sync.Mutex
	till time.Time
}

func newProxy(t *testing.T, to string) *proxy {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{lis: lis, to: to}
	t.Cleanup(func() { _ = lis.Close() })
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			go p.forward(conn)
		}
	}()
	return p
}

func (p *proxy) cut(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.till = time.Now().Add(d)
}

// wait holds traffic back while the network is cut.
func (p *proxy) wait() {
	p.mu.Lock()
	till := p.till
	p.mu.Unlock()
	time.Sleep(time.Until(till))
}

func (p *proxy) forward(down net.Conn) {
	defer down.Close()
	p.wait()
	up, err := net.DialTimeout("tcp", p.to, 2*time.Second)
	if err != nil {
		return
	}
	defer up.Close()
	done := make(chan struct{}, 2)
	pipe := func(dst, src net.Conn) {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 64<<10)
		for {
			n, err := src.Read(buf)
			p.wait()
			if n > 0 {
				if _, err := dst.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	go pipe(up, down)
	go pipe(down, up)
	<-done
}
