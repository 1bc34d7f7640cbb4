package wdpost

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDeployNamesRealMetrics: alert rules and dashboard ask for metrics that the
// programs have.
func TestDeployNamesRealMetrics(t *testing.T) {
	var code strings.Builder
	err := filepath.WalkDir("internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		code.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	metric := regexp.MustCompile(`\bwdpost_([a-z_]+)`)
	for _, file := range []string{"deploy/prometheus/wdpost.rules.yml", "deploy/grafana/wdpost.json"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := metric.FindAllStringSubmatch(string(b), -1)
		if len(found) < 5 {
			t.Fatalf("%s names only %d metrics", file, len(found))
		}
		for _, m := range found {
			name := m[1]
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				name = strings.TrimSuffix(name, suffix)
			}
			if !strings.Contains(code.String(), `"`+name+`"`) && !strings.Contains(code.String(), `"wdpost_`+name+`"`) {
				t.Errorf("%s asks for wdpost_%s, which no program has", file, m[1])
			}
		}
	}
}
