package access

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func keeper(t *testing.T) *Keeper {
	t.Helper()
	k, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func token(t *testing.T, k *Keeper, perm Perm) string {
	t.Helper()
	s, err := k.Token("duty", perm)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSecretIsKeptAndGuarded(t *testing.T) {
	home := t.TempDir()
	first, err := Open(home)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(home)
	if err != nil {
		t.Fatal(err)
	}
	if name, perm, err := again.Check(token(t, first, Write)); err != nil || name != "duty" || perm != Write {
		t.Fatalf("%q %q %v", name, perm, err)
	}
	path := filepath.Join(home, secretFile)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(home); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a secret that all can read: %v", err)
	}
	for _, bad := range []string{"", "zz", "00ff\n"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(home); err == nil {
			t.Errorf("secret %q is taken", bad)
		}
	}
}

func TestForgedTokens(t *testing.T) {
	k := keeper(t)
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims{Perm: Admin}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	odd, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{Perm: "root"}).SignedString(k.secret)
	if err != nil {
		t.Fatal(err)
	}
	other, err := jwt.NewWithClaims(jwt.SigningMethodHS512, claims{Perm: Admin}).SignedString(k.secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "x", unsigned, odd, other, token(t, keeper(t), Admin), token(t, k, Read) + "A"} {
		if _, perm, err := k.Check(bad); err == nil {
			t.Errorf("token %q allows %s", bad, perm)
		}
	}
}

func TestGuard(t *testing.T) {
	k := keeper(t)
	h := Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
		func() (*Keeper, error) { return k, nil }, slog.New(slog.DiscardHandler))
	const through = http.StatusTeapot
	for _, c := range []struct {
		name, from, method, path string
		header                   [2]string
		want                     int
	}{
		{"this machine", "127.0.0.1:5000", "GET", "/status", [2]string{}, through},
		{"this machine, IPv6", "[::1]:5000", "POST", "/do/x", [2]string{}, through},
		{"this machine, mapped", "[::ffff:127.0.0.1]:5000", "GET", "/", [2]string{}, through},
		{"socket in the home", "@", "POST", "/reload", [2]string{}, through},
		{"through a proxy here", "127.0.0.1:5000", "GET", "/status", [2]string{"X-Forwarded-For", "1.2.3.4"}, 401},
		{"health from elsewhere", "10.0.0.9:5000", "GET", "/healthz", [2]string{}, through},
		{"no token", "10.0.0.9:5000", "GET", "/metrics", [2]string{}, 401},
		{"wrong token", "10.0.0.9:5000", "GET", "/metrics", [2]string{"Authorization", "Bearer x"}, 401},
		{"reader reads", "10.0.0.9:5000", "GET", "/metrics", [2]string{"Authorization", "Bearer " + token(t, k, Read)}, through},
		{"reader changes", "10.0.0.9:5000", "POST", "/do/x", [2]string{"Authorization", "Bearer " + token(t, k, Read)}, 403},
		{"writer changes", "10.0.0.9:5000", "POST", "/do/x", [2]string{"Authorization", "Bearer " + token(t, k, Write)}, through},
		{"admin reads", "[2001:db8::1]:5000", "GET", "/", [2]string{"Cookie", cookie + "=" + token(t, k, Admin)}, through},
		{"browser brings its token", "10.0.0.9:5000", "GET", "/day?token=" + token(t, k, Read), [2]string{}, 303},
	} {
		r := httptest.NewRequest(c.method, c.path, nil)
		r.RemoteAddr = c.from
		if c.header[0] != "" {
			r.Header.Set(c.header[0], c.header[1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", c.name, w.Code, c.want)
		}
		if c.want == 303 && (w.Header().Get("Location") != "/day" || !strings.Contains(w.Header().Get("Set-Cookie"), "HttpOnly")) {
			t.Errorf("%s: %v", c.name, w.Header())
		}
	}
}
