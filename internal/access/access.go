// Package access decides who may see and change what on the manager's pages.
//
// A request from this machine may do everything: whoever is here can read the
// home. A request from elsewhere may see /healthz, and needs a token for all
// else: a JWT signed with HS256 by the secret in the home, which allows read,
// write or admin, each with what is below it, as the field's services do it. A
// browser gives the token once, as ?token=…, and keeps it in a cookie.
package access

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"wdpost/internal/attr"
	"wdpost/internal/durable"
)

// Perm is what a token allows.
type Perm string

// Permissions, each with those before it.
const (
	Read  Perm = "read"
	Write Perm = "write"
	Admin Perm = "admin"
)

var perms = []Perm{Read, Write, Admin}

// ParsePerm reads a permission's name.
func ParsePerm(name string) (Perm, error) {
	if p := Perm(name); slices.Contains(perms, p) {
		return p, nil
	}
	return "", fmt.Errorf("permission %q: known are read, write and admin", name)
}

// allows reports whether p includes need.
func (p Perm) allows(need Perm) bool {
	return slices.Index(perms, p) >= slices.Index(perms, need) && p != ""
}

// secretFile lies in the home.
const secretFile = "jwt_secret"

// secretBytes is the length of a secret.
const secretBytes = 32

// Keeper makes and checks tokens with the secret of one home.
type Keeper struct{ secret []byte }

// Open reads the secret of a home and makes one where there is none. The file
// must be readable by its owner alone.
func Open(home string) (*Keeper, error) {
	path := filepath.Join(home, secretFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		fresh := make([]byte, secretBytes)
		_, _ = rand.Read(fresh) // never fails
		b = []byte(hex.EncodeToString(fresh) + "\n")
		err = durable.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("secret of the tokens: %w", err)
	}
	if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("secret of the tokens: %s can be read by others: chmod 600 it, and make new tokens if it was seen", path)
	}
	secret, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(secret) < secretBytes {
		return nil, fmt.Errorf("secret of the tokens: %s is not %d bytes in hex: remove it, a new one is made, and make new tokens", path, secretBytes)
	}
	return &Keeper{secret: secret}, nil
}

// claims of a token, as those of Lotus and Venus: a name, and what is allowed.
type claims struct {
	jwt.RegisteredClaims
	Name string `json:"name,omitempty"`
	Perm Perm   `json:"perm"`
}

// Token makes a token for somebody. It has no end; a new secret ends all.
func (k *Keeper) Token(name string, perm Perm) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims{Name: name, Perm: perm}).SignedString(k.secret)
}

// errToken does not say what is wrong with a token: that helps only who guesses.
var errToken = errors.New("the token is not valid here: make one with `util auth create-token` in this manager's home")

// Check reads a token.
func (k *Keeper) Check(token string) (name string, perm Perm, err error) {
	var c claims
	_, err = jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return k.secret, nil }, jwt.WithValidMethods([]string{"HS256"}))
	if err != nil {
		return "", "", errToken
	}
	if _, err := ParsePerm(string(c.Perm)); err != nil {
		return "", "", errToken
	}
	return c.Name, c.Perm, nil
}

// open are the paths that everybody may see.
var open = []string{"/healthz", "/healthcheck"}

// cookie keeps a browser's token.
const cookie = "wdpost-token"

// Guard lets requests through that may: read for GET and HEAD, write for all
// others. keeper is asked at each request from elsewhere; its error closes the
// pages to all but this machine.
func Guard(next http.Handler, keeper func() (*Keeper, error), log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if local(r) || slices.Contains(open, r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		need := Write
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			need = Read
		}
		name, perm, err := asker(r, keeper)
		switch {
		case err != nil:
			w.Header().Set("WWW-Authenticate", `Bearer realm="wdpost"`)
			http.Error(w, err.Error(), http.StatusUnauthorized)
		case !perm.allows(need):
			http.Error(w, fmt.Sprintf("the token of %q allows %s, this needs %s", name, perm, need), http.StatusForbidden)
		case r.URL.Query().Get("token") != "":
			keep(w, r)
		default:
			if need != Read {
				log.Info("changed over the network", attr.Page(r.URL.Path), attr.Asker(name), attr.Address(r.RemoteAddr))
			}
			next.ServeHTTP(w, r)
		}
	})
}

func asker(r *http.Request, keeper func() (*Keeper, error)) (string, Perm, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		token = r.URL.Query().Get("token")
	}
	if c, err := r.Cookie(cookie); token == "" && err == nil {
		token = c.Value
	}
	if token == "" {
		return "", "", errors.New("from outside this machine a token is needed: `util auth create-token --perm read`, then Authorization: Bearer TOKEN, or ?token=TOKEN in a browser")
	}
	k, err := keeper()
	if err != nil {
		return "", "", err
	}
	return k.Check(token)
}

// keep puts a browser's token into a cookie and takes it out of the address.
func keep(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{
		Name: cookie, Value: r.URL.Query().Get("token"), Path: "/", MaxAge: 90 * 24 * 3600,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	})
	http.Redirect(w, r, r.URL.Path, http.StatusSeeOther)
}

// local reports whether the request comes from this machine and not through a
// proxy on it.
func local(r *http.Request) bool {
	if r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		return false
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr == "" || r.RemoteAddr == "@" // a socket in the home
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
