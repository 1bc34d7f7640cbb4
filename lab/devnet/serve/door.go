package serve

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// door hits HTTP calls with the faults that are answered before the service.
func door(next http.Handler, sets []*Faults) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if a := meet(r, sets); a != nil {
				turnAway(w, r, a)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// meet reads the method of a call and returns the fault that hits it, nil for
// none. The request can be read again.
func meet(r *http.Request, sets []*Faults) *armed {
	for _, s := range sets {
		if !s.any() {
			continue
		}
		body, err := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		var call struct{ Method string }
		if err != nil || json.Unmarshal(body, &call) != nil {
			return nil // the service tells what is wrong with it
		}
		if a := s.take(call.Method, true); a != nil {
			return a
		}
	}
	return nil
}

func turnAway(w http.ResponseWriter, r *http.Request, a *armed) {
	if a.Delay > 0 {
		wait := time.NewTimer(a.Delay)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-r.Context().Done():
			return
		}
	}
	if a.Cut {
		panic(http.ErrAbortHandler) // the server closes the connection without a word
	}
	if a.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((a.RetryAfter+time.Second-1)/time.Second)))
	}
	w.WriteHeader(a.Status)
	_, _ = io.WriteString(w, a.Body) // a caller that left does not read it
}
