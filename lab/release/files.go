package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb" // registers the packager
	_ "github.com/goreleaser/nfpm/v2/rpm" // registers the packager
)

// layOut puts units and documents beside the binaries. Packages install to
// /usr/bin; the units in the source tree name /usr/local/bin.
func (r *release) layOut(_, stage string) error {
	units, err := filepath.Glob(filepath.Join(r.root, "deploy", "systemd", "*.service"))
	if err != nil {
		return err
	}
	for _, unit := range units {
		b, err := os.ReadFile(unit)
		if err != nil {
			return err
		}
		b = bytes.ReplaceAll(b, []byte("/usr/local/bin/"), []byte("/usr/bin/"))
		if err := write(filepath.Join(stage, "systemd", filepath.Base(unit)), b); err != nil {
			return err
		}
	}
	for _, name := range []string{"README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "docs", "deploy"} {
		err := filepath.WalkDir(filepath.Join(r.root, name), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(r.root, path)
			if err != nil {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return write(filepath.Join(stage, "doc", rel), b)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func write(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// archive writes wdpost_VERSION_linux_ARCH.tar.gz.
func (r *release) archive(arch, stage string) error {
	name := r.name(arch)
	f, err := os.Create(filepath.Join(r.out, name+".tar.gz"))
	if err != nil {
		return err
	}
	defer f.Close()
	zip := gzip.NewWriter(f)
	if err := r.tar(zip, stage, name+"/"); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	return f.Close()
}

func (r *release) name(arch string) string { return "wdpost_" + r.version + "_linux_" + arch }

// tar writes the folder below prefix: files in the order of their names, owned
// by root, with the commit's time.
func (r *release) tar(w io.Writer, dir, prefix string) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == "." {
			return err
		}
		h := &tar.Header{Name: prefix + rel, Mode: 0o644, ModTime: r.time, Format: tar.FormatPAX}
		if strings.HasPrefix(rel, "bin/") || d.IsDir() {
			h.Mode = 0o755
		}
		if d.IsDir() {
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
			return t.WriteHeader(h)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		h.Typeflag, h.Size = tar.TypeReg, int64(len(b))
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err = t.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	return t.Close()
}

// packages writes the deb and the rpm.
func (r *release) packages(arch, stage string) error {
	for _, format := range []string{"deb", "rpm"} {
		if err := r.pack(format, arch, stage); err != nil {
			return fmt.Errorf("%s: %w", format, err)
		}
	}
	return nil
}

func (r *release) pack(format, arch, stage string) error {
	file, err := os.Open(filepath.Join(r.root, "deploy", "package", "nfpm.yaml"))
	if err != nil {
		return err
	}
	defer file.Close()
	// Paths of the description are those from the root of the source tree.
	if err := os.Chdir(r.root); err != nil {
		return err
	}
	config, err := nfpm.ParseWithEnvMapping(file, func(name string) string {
		return map[string]string{"STAGE": stage, "VERSION": r.version, "ARCH": arch}[name]
	})
	if err != nil {
		return err
	}
	info, err := config.Get(format)
	if err != nil {
		return err
	}
	info.MTime, info.RPM.BuildHost = r.time, "wdpost"
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return err
	}
	for _, c := range info.Contents { // not the times of this machine
		c.FileInfo.MTime = r.time
		if strings.HasPrefix(c.Destination, "/usr/bin/") {
			c.FileInfo.Mode = 0o755
		}
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(r.out, packager.ConventionalFileName(info)))
	if err != nil {
		return err
	}
	defer out.Close()
	if err := packager.Package(info, out); err != nil {
		return err
	}
	return out.Close()
}

// checksums writes SHA256SUMS over all artefacts.
func (r *release) checksums() error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), e.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(b.String()), 0o644)
}
