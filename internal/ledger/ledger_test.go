package ledger_test

import (
	"slices"
	"testing"

	"wdpost/internal/ledger"
)

func TestPartitionsText(t *testing.T) {
	for _, s := range []string{"", "0", "0,1,2", "3,17,2999"} {
		p, err := ledger.ParsePartitions(s)
		if err != nil || p.String() != s {
			t.Errorf("%q -> %v, %v", s, p, err)
		}
	}
	for _, s := range []string{",", "1,", "2,1", "1,1", "01", "a", "-1", "1, 2"} {
		if p, err := ledger.ParsePartitions(s); err == nil {
			t.Errorf("%q was read as %v", s, p)
		}
	}
}

func TestNumbersText(t *testing.T) {
	for _, tt := range []struct {
		numbers []uint64
		text    string
	}{
		{nil, ""},
		{[]uint64{7}, "7"},
		{[]uint64{0, 1}, "0-1"},
		{[]uint64{1, 2, 3, 5, 7, 8}, "1-3,5,7-8"},
	} {
		if got := ledger.EncodeNumbers(tt.numbers); got != tt.text {
			t.Errorf("%v -> %q, want %q", tt.numbers, got, tt.text)
		}
		if got, err := ledger.DecodeNumbers(tt.text); err != nil || !slices.Equal(got, tt.numbers) {
			t.Errorf("%q -> %v, %v", tt.text, got, err)
		}
	}
	for _, s := range []string{"5-4", "1,1", "1-3,2", "x", "1-", "0-99999999999", "18446744073709551615"} {
		if n, err := ledger.DecodeNumbers(s); err == nil {
			t.Errorf("%q was read as %d numbers", s, len(n))
		}
	}
}

func FuzzDecodeNumbers(f *testing.F) {
	f.Add("1-3,5")
	f.Fuzz(func(t *testing.T, s string) {
		numbers, err := ledger.DecodeNumbers(s)
		if err != nil {
			return
		}
		again, err := ledger.DecodeNumbers(ledger.EncodeNumbers(numbers))
		if err != nil || !slices.Equal(numbers, again) {
			t.Fatalf("%q -> %v -> %v, %v", s, numbers, again, err)
		}
	})
}

func FuzzParsePartitions(f *testing.F) {
	f.Add("0,1,2")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ledger.ParsePartitions(s); err == nil && p.String() != s {
			t.Fatalf("%q -> %q", s, p)
		}
	})
}
