package config

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	day := 24 * time.Hour
	for in, want := range map[string]time.Duration{
		"5m": 5 * time.Minute, "15s": 15 * time.Second, "2days": 2 * day, "1 day": day, "10m": 10 * time.Minute,
		"1h0m0s": time.Hour, "1h 30min": 90 * time.Minute, "1m0s": time.Minute, "0": 0, "0s": 0, "1.5h": 90 * time.Minute,
		"500ms": 500 * time.Millisecond, "2w": 14 * day, "1h, 2m": 62 * time.Minute, "3us": 3 * time.Microsecond, " 7 secs ": 7 * time.Second,
	} {
		got, err := ParseDuration(in)
		if err != nil || got.D() != want {
			t.Errorf("%q: got %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", " ", "5", "m", "-5m", "5m-", "5mm", "5 m 3", "1e3s", ".s", "1..2s", "999999999999w", "5\x80s"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q accepted as %s", in, got)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"5m", "2days", "1h0m0s", "1.5 h", "9999999w"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		again, err := ParseDuration(d.String())
		if err != nil || d < 0 {
			t.Fatalf("%q is %s, which reads back as %s, %v", s, d, again, err)
		}
	})
}

func TestParseFIL(t *testing.T) {
	for in, want := range map[string]string{
		"5 nanoFIL": "5000000000", "5nanofil": "5000000000", "0.1 FIL": "100000000000000000", "1": "1000000000000000000",
		"7 attoFIL": "7", "7 afil": "7", "2 nFIL": "2000000000", "": "0", "0": "0", "1.5 picoFIL": "1500000", "3 mFIL": "3000000000000000",
	} {
		got, err := ParseFIL(in)
		if err != nil || got.Amount().String() != want {
			t.Errorf("%q: got %s, %v; want %s", in, got.Amount(), err, want)
		}
	}
	for _, in := range []string{"five", "5 gold", "-1 FIL", "1e3 FIL", "0.5 attoFIL", "1..2 FIL", "FIL", "1/2"} {
		if got, err := ParseFIL(in); err == nil {
			t.Errorf("%q accepted as %s", in, got)
		}
	}
	for in, want := range map[string]string{"5 nanoFIL": "5 nanoFIL", "2": "2 FIL", "7 attoFIL": "7 attoFIL", "": "0 FIL"} {
		if got, _ := ParseFIL(in); got.String() != want {
			t.Errorf("%q prints as %q", in, got)
		}
	}
}

func FuzzParseFIL(f *testing.F) {
	for _, s := range []string{"5 nanoFIL", "0.1 FIL", "1", "7 attofil"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseFIL(s)
		if err != nil {
			return
		}
		b, err := ParseFIL(a.String())
		if err != nil || !a.Amount().Equals(b.Amount()) {
			t.Fatalf("%q is %s, which reads back as %s, %v", s, a, b, err)
		}
	})
}

func TestParseBytes(t *testing.T) {
	for in, want := range map[string]Bytes{"16GiB": 16 << 30, "512 MiB": 512 << 20, "64KB": 64000, "7": 7, "2kib": 2048, "9 B": 9} {
		got, err := ParseBytes(in)
		if err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "GiB", "-1", "1.5GiB", "99999999TiB", "16 apples"} {
		if got, err := ParseBytes(in); err == nil {
			t.Errorf("%q accepted as %d", in, got)
		}
	}
	if got := Bytes(20 << 30).String(); got != "20GiB" {
		t.Errorf("prints as %q", got)
	}
}
