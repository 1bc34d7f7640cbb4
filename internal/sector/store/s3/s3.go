// Package s3 reads stores that lie in an object store with the S3 interface.
//
// A store is a prefix in a bucket, named by its URL with Prefix before it:
//
//	s3+https://minio.example:9000/bucket/some/prefix
//
// Below the prefix lie the same names as in a folder: sealed/s-t01008-1,
// cache/s-t01008-1/p_aux and so on. Files are read by ranges, never as a whole.
//
// The credentials come from the environment (AWS_ACCESS_KEY_ID and
// AWS_SECRET_ACCESS_KEY, or MINIO_ROOT_USER and MINIO_ROOT_PASSWORD) or from the
// file named by AWS_SHARED_CREDENTIALS_FILE (~/.aws/credentials), profile
// AWS_PROFILE; without any, requests are anonymous. AWS_REGION names the region.
// They are never logged, and refused inside the URL, which is.
package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"

	"wdpost/internal/sector/store"
)

// Prefix begins the paths of these stores.
const Prefix = "s3+"

const (
	// requestTimeout bounds one request; the guard gives a store up earlier.
	requestTimeout = 2 * time.Minute
	// tries is how often a range is asked for whose answer broke off. Requests
	// that are refused for now are repeated by the client itself.
	tries = 3
	// connections is how many are kept to one server.
	connections = 256
	// listFrom is how many files of one folder are looked at by listing it.
	listFrom = 3
)

// Backend is a store.Backend. It is safe for concurrent use.
type Backend struct {
	ctx  context.Context // ends every request
	stop context.CancelFunc

	mu      sync.Mutex
	clients map[string]*minio.Core // by scheme and host
}

// New returns a backend; it connects to nothing yet. Its requests end with ctx.
func New(ctx context.Context) *Backend {
	ctx, stop := context.WithCancel(ctx)
	return &Backend{ctx: ctx, stop: stop, clients: map[string]*minio.Core{}}
}

// Close ends all requests.
func (b *Backend) Close() error {
	b.stop()
	return nil
}

// Check refuses a URL that names no store.
func Check(address string) error {
	_, err := parse(address)
	return err
}

// place is where a path lies.
type place struct {
	scheme, host, bucket, key string
}

func parse(address string) (place, error) {
	bare, ok := strings.CutPrefix(address, Prefix)
	u, err := url.Parse(bare)
	switch {
	case !ok || err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return place{}, errors.New("is no URL of an S3 store: write it like https://host:9000/bucket/prefix")
	case u.User != nil:
		return place{}, errors.New("the URL of an S3 store must not hold credentials: give them in the environment or in a file")
	case u.RawQuery != "" || u.Fragment != "":
		return place{}, errors.New("the URL of an S3 store ends with its prefix, without ? or #")
	}
	bucket, key, _ := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if bucket == "" {
		return place{}, errors.New("the URL of an S3 store names no bucket: write it like https://host:9000/bucket/prefix")
	}
	return place{u.Scheme, u.Host, bucket, key}, nil
}

// client returns the client of a path's server.
func (b *Backend) client(address string) (*minio.Core, place, error) {
	p, err := parse(address)
	if err != nil {
		return nil, p, &fs.PathError{Op: "open", Path: address, Err: err}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	name := p.scheme + "://" + p.host
	if c := b.clients[name]; c != nil {
		return c, p, nil
	}
	transport, err := minio.DefaultTransport(p.scheme == "https")
	if err != nil {
		return nil, p, fmt.Errorf("%w: %w", store.ErrHere, err)
	}
	transport.MaxIdleConnsPerHost, transport.MaxConnsPerHost = connections, connections
	c, err := minio.NewCore(p.host, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.EnvMinio{}, &credentials.FileAWSCredentials{},
		}),
		Secure: p.scheme == "https", Transport: transport, Region: os.Getenv("AWS_REGION"), MaxRetries: tries,
	})
	if err != nil {
		return nil, p, fmt.Errorf("%w: %s: %w", store.ErrHere, name, err)
	}
	b.clients[name] = c
	return c, p, nil
}

func (b *Backend) request() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, requestTimeout)
}

// Open implements store.Backend.
func (b *Backend) Open(address string) (store.File, error) {
	c, p, err := b.client(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := b.request()
	defer cancel()
	info, err := c.StatObject(ctx, p.bucket, p.key, minio.StatObjectOptions{})
	if err != nil {
		return nil, translate("open", address, err)
	}
	return &file{backend: b, client: c, place: p, address: address, size: info.Size, tag: info.ETag}, nil
}

// Stat implements store.Backend. Several files of one folder are looked at by
// listing it once.
func (b *Backend) Stat(addresses []string, resolve bool) []store.Info {
	out := make([]store.Info, len(addresses))
	folders := map[string][]int{}
	for i, address := range addresses {
		folders[address[:strings.LastIndexByte(address, '/')+1]] = append(folders[address[:strings.LastIndexByte(address, '/')+1]], i)
	}
	var work errgroup.Group
	work.SetLimit(16)
	for folder, members := range folders {
		if len(members) >= listFrom {
			work.Go(func() error { b.statByList(folder, addresses, members, out); return nil })
			continue
		}
		for _, i := range members {
			work.Go(func() error { out[i] = b.statOne(addresses[i]); return nil })
		}
	}
	_ = work.Wait() // errors are in out
	for i := range out {
		if resolve && out[i].Err == nil {
			out[i].Real = addresses[i]
		}
	}
	return out
}

func (b *Backend) statByList(folder string, addresses []string, members []int, out []store.Info) {
	found := map[string]store.Info{}
	err := b.each(strings.TrimSuffix(folder, "/"), func(name string, info store.Info) bool { found[name] = info; return true })
	for _, i := range members {
		info, ok := found[path.Base(addresses[i])]
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			info = store.Info{Err: err}
		case !ok:
			info = store.Info{Err: &fs.PathError{Op: "stat", Path: addresses[i], Err: syscall.ENOENT}}
		}
		out[i] = info
	}
}

// statOne looks at an object, or at a prefix: a folder is what something lies in.
func (b *Backend) statOne(address string) store.Info {
	c, p, err := b.client(address)
	if err != nil {
		return store.Info{Err: err}
	}
	if p.key != "" {
		ctx, cancel := b.request()
		defer cancel()
		info, err := c.StatObject(ctx, p.bucket, p.key, minio.StatObjectOptions{})
		if err == nil {
			return store.Info{Size: info.Size, Regular: true}
		}
		if err = translate("stat", address, err); !errors.Is(err, fs.ErrNotExist) {
			return store.Info{Err: err}
		}
	}
	err = b.each(address, func(string, store.Info) bool { return false })
	if err != nil {
		return store.Info{Err: err}
	}
	return store.Info{Dir: true}
}

// List implements store.Backend.
func (b *Backend) List(dir string) ([]string, error) {
	var names []string
	err := b.each(dir, func(name string, _ store.Info) bool { names = append(names, name); return true })
	return names, err
}

// each calls see for what lies directly in a folder, until that returns false.
func (b *Backend) each(dir string, see func(name string, info store.Info) bool) error {
	c, p, err := b.client(dir)
	if err != nil {
		return err
	}
	prefix := p.key
	if prefix != "" {
		prefix += "/"
	}
	ctx, cancel := b.request()
	defer cancel()
	any := false
	for object := range c.Client.ListObjectsIter(ctx, p.bucket, minio.ListObjectsOptions{Prefix: prefix}) {
		if object.Err != nil {
			return translate("list", dir, object.Err)
		}
		any = true
		name := strings.TrimPrefix(object.Key, prefix)
		folder := strings.HasSuffix(name, "/")
		if name = strings.TrimSuffix(name, "/"); name == "" {
			continue // a mark for the folder itself
		}
		if !see(name, store.Info{Size: object.Size, Regular: !folder, Dir: folder}) {
			return nil
		}
	}
	if !any && p.key != "" {
		return &fs.PathError{Op: "list", Path: dir, Err: syscall.ENOENT}
	}
	return nil
}

// Space implements store.Backend: object stores do not tell.
func (b *Backend) Space(string) (store.Space, error) { return store.Space{}, nil }

// file is an object. Nothing is held open.
type file struct {
	backend *Backend
	client  *minio.Core
	place   place
	address string
	size    int64
	tag     string
}

// Size implements store.File.
func (f *file) Size() int64 { return f.size }

// Close implements store.File.
func (f *file) Close() error { return nil }

// ReadAt implements store.File: one request for the range, which is repeated
// where its answer breaks off.
func (f *file) ReadAt(buf []byte, at int64) (int, error) {
	if at < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.address, Err: syscall.EINVAL}
	}
	want := buf[:max(0, min(int64(len(buf)), f.size-at))]
	if len(want) > 0 {
		var err error
		for range tries {
			if err = f.fetch(want, at); err == nil || f.backend.ctx.Err() != nil || store.TroubleOf(err) != store.OfStore {
				break
			}
		}
		if err != nil {
			return 0, err
		}
	}
	if len(want) < len(buf) {
		return len(want), io.EOF
	}
	return len(want), nil
}

func (f *file) fetch(want []byte, at int64) error {
	ctx, cancel := f.backend.request()
	defer cancel()
	var opts minio.GetObjectOptions
	if err := opts.SetRange(at, at+int64(len(want))-1); err != nil {
		return err
	}
	body, _, _, err := f.client.GetObject(ctx, f.place.bucket, f.place.key, opts)
	if err != nil {
		return translate("read", f.address, err)
	}
	defer body.Close()
	if _, err := io.ReadFull(body, want); err != nil {
		return fmt.Errorf("%w: read %s: the answer broke off: %w", store.ErrUnavailable, f.address, err)
	}
	return nil
}

// translate makes an error of the client one of a file system, as far as it is
// about the object; all others are the store's.
func translate(op, address string, err error) error {
	response := minio.ToErrorResponse(err)
	switch {
	case response.Code == "NoSuchBucket":
		return fmt.Errorf("%w: %s: there is no such bucket", store.ErrUnavailable, address)
	case response.Code == "NoSuchKey" || response.StatusCode == http.StatusNotFound:
		return &fs.PathError{Op: op, Path: address, Err: syscall.ENOENT}
	case response.StatusCode == http.StatusForbidden || response.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%w: check the credentials in the environment (%s)", &fs.PathError{Op: op, Path: address, Err: syscall.EACCES}, cmp.Or(response.Code, "no reason given"))
	}
	return fmt.Errorf("%w: %s %s: %w", store.ErrUnavailable, op, address, err)
}
