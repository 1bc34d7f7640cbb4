package rpc

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"wdpost/internal/attr"
)

// ServerTLS reads the PEM files of a server: its certificate chain and key,
// and, unless empty, the authority whose certificates slaves must present.
// Files that are replaced later hold for the connections made after that; where
// they cannot be read the old ones stay in force, which the log tells.
func ServerTLS(cert, key, clientCA string, log *slog.Logger) (*tls.Config, error) {
	r := &reloader{cert: cert, key: key, authority: clientCA, log: log}
	first, err := r.read()
	if err != nil {
		return nil, err
	}
	r.current, r.stamp = first, r.stat()
	// What is asked for each connection replaces this configuration.
	out := first.Clone()
	out.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.config(), nil }
	return out, nil
}

// reloader is a server's certificates, read again when their files change.
type reloader struct {
	cert, key, authority string
	log                  *slog.Logger

	mu      sync.Mutex
	current *tls.Config
	stamp   string // of the files that current was read from
}

// config returns the configuration of the files as they are now.
func (r *reloader) config() *tls.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	stamp := r.stat()
	if stamp == r.stamp {
		return r.current
	}
	fresh, err := r.read()
	if err != nil {
		r.log.Warn("the certificates were replaced by some that cannot be used; the old ones stay in force", attr.Err(err))
	} else {
		r.current = fresh
		r.log.Info("certificates read again", attr.Path(r.cert))
	}
	r.stamp = stamp // one that is wrong is told once
	return r.current
}

// stat is what changes when a file is replaced.
func (r *reloader) stat() string {
	var out string
	for _, path := range []string{r.cert, r.key, r.authority} {
		var info fs.FileInfo
		if path != "" {
			info, _ = os.Stat(path)
		}
		if info != nil {
			out += fmt.Sprint(info.Size(), info.ModTime().UnixNano(), ";")
		}
	}
	return out
}

// read reads the files.
func (r *reloader) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(r.cert, r.key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", r.cert, r.key, err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	if r.authority != "" {
		if cfg.ClientCAs, err = authorities(r.authority); err != nil {
			return nil, err
		}
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return cfg, nil
}

// ClientTLS reads the PEM files of a slave: the authority of the master's
// certificate (empty: those of the system), and its own certificate and key
// where the master asks for one. serverName replaces the address's host as the
// name that the master's certificate must carry. A certificate that is replaced
// later holds for the connections made after that.
func ClientTLS(ca, cert, key, serverName string) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12}
	if ca != "" {
		pool, err := authorities(ca)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = pool
	}
	if cert != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(cert, key)
			if err != nil {
				return nil, fmt.Errorf("certificate %s with key %s: %w", cert, key, err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return cfg, nil
}

// authorities reads the certificates of a PEM file.
func authorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("authority %s: no certificate in PEM form", path)
	}
	return pool, nil
}
