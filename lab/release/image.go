package main

import (
	"bytes"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"path/filepath"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// image writes a container image from scratch, as `docker load` and `podman
// load` read it: the programs under /usr/bin, an unprivileged user, no shell.
func (r *release) image(arch, stage string) error {
	var layerTar bytes.Buffer
	root := filepath.Join(stage, "rootfs")
	for _, p := range programs {
		b, err := os.ReadFile(filepath.Join(stage, "bin", p))
		if err != nil {
			return err
		}
		if err := write(filepath.Join(root, "bin", p), b); err != nil {
			return err
		}
	}
	if err := r.tar(&layerTar, root, "usr/"); err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layerTar.Bytes())), nil
	})
	if err != nil {
		return err
	}
	img, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer: layer, History: v1.History{CreatedBy: "make release", Created: v1.Time{Time: r.time}},
	})
	if err != nil {
		return err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, v1.Time{Time: r.time}
	config.Config = v1.Config{
		User: "65532:65532", WorkingDir: "/var/lib/wdpost", StopSignal: "SIGTERM",
		Env: []string{
			"PATH=/usr/bin", "FIL_PROOFS_PARAMETER_CACHE=/var/lib/filecoin-proof-parameters",
			"VENUS_SECTOR_MANAGER_PATH=/var/lib/wdpost/manager",
		},
		Volumes:      map[string]struct{}{"/var/lib/wdpost": {}},
		ExposedPorts: map[string]struct{}{"1789/tcp": {}, "4698/tcp": {}},
		Labels:       map[string]string{"org.opencontainers.image.version": r.version, "org.opencontainers.image.licenses": "Apache-2.0 OR MIT"},
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return err
	}
	tag, err := name.NewTag("wdpost:" + r.version + "-" + arch)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(filepath.Join(r.out, r.name(arch)+"_image.tar"), tag, img)
}

// materials writes the bill of materials of the programs, out of what the
// linker noted in them, as CycloneDX JSON.
func (r *release) materials(arch, stage string) error {
	seen := map[string]cyclonedx.Component{}
	var components []cyclonedx.Component
	for _, p := range programs {
		info, err := buildinfo.ReadFile(filepath.Join(stage, "bin", p))
		if err != nil {
			return err
		}
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			purl := fmt.Sprintf("pkg:golang/%s@%s", m.Path, m.Version)
			if _, ok := seen[purl]; !ok {
				c := cyclonedx.Component{BOMRef: purl, Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: purl}
				seen[purl] = c
				components = append(components, c)
			}
		}
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: r.time.Format("2006-01-02T15:04:05Z"),
		Component: &cyclonedx.Component{BOMRef: "wdpost", Type: cyclonedx.ComponentTypeApplication, Name: "wdpost", Version: r.version},
	}
	bom.Components = &components
	f, err := os.Create(filepath.Join(r.out, r.name(arch)+"_sbom.cdx.json"))
	if err != nil {
		return err
	}
	defer f.Close()
	if err := cyclonedx.NewBOMEncoder(f, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return err
	}
	return f.Close()
}
