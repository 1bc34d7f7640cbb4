package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFieldF13Damocles: the file that a present damocles-manager writes is
// accepted, as it stands and with every key set; what has no effect is named
// once.
func TestFieldF13Damocles(t *testing.T) {
	const path = "testdata/damocles/sector-manager.cfg"
	_, warnings, err := LoadManager(path)
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(warnings, "\n"); strings.Contains(all, "without effect") {
		t.Errorf("bare headers are warned of: %s", all)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := strings.ReplaceAll(strings.ReplaceAll(string(text), "\n#", "\n"), `PluginName = "s3store"`, `PluginName = ""`)
	_, set, _ = strings.Cut(set, "[Common]\n")
	m, warnings, err := LoadManager(write(t, ManagerFile, "[Common]\n"+set))
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(warnings, "\n")
	for _, foreign := range []string{"Common.DB", "Common.Plugins", "Common.PieceStorePreset", "Common.Proving.WorkerProver", "Miners.Commitment"} {
		if strings.Count(all, foreign) != 1 {
			t.Errorf("%s is not named once in: %s", foreign, all)
		}
	}
	if len(m.Miners) != 1 || m.Miners[0].Actor != 10086 {
		t.Errorf("miners %+v", m.Miners)
	}
}

func TestScanPersistStores(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a": `{"ID":"first","AllowMiners":[1008]}`, "b": `{}`, "c": `{"PluginName":"s3"}`, "d": `{`, "e": `{"Name":"first"}`} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, storeFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := Common{PersistStores: []PersistStore{{Name: "here", Path: "/here"}}, ScanPersistStores: []string{filepath.Join(dir, "*"), "/nowhere/*", "["}}
	stores, warnings := c.Scan()
	if len(stores) != 3 || stores[1].Name != "first" || stores[1].Path != filepath.Join(dir, "a") || !stores[1].Allows(1008) || stores[1].Allows(1) || stores[2].Name != filepath.Join(dir, "b") {
		t.Errorf("got %+v", stores)
	}
	if len(warnings) != 5 {
		t.Errorf("warnings %q", warnings)
	}
}

func TestNotifyComplaints(t *testing.T) {
	for text, want := range map[string]string{
		"Kind = 'smoke'\nURL = 'https://x'":                 "Kind",
		"Kind = 'slack'\nURL = 'x'":                         "URL",
		"Kind = 'telegram'\nURL = 'https://x'":              "Chat",
		"Kind = 'slack'\nURL = 'https://x'\nDaily = '9'":    "Daily",
		"Kind = 'slack'\nURL = 'https://x'\nLeast = 'all'":  "Least",
		"Kind = 'slack'\nURL = 'https://x'\nRepeat = '-1s'": "Repeat",
	} {
		_, _, err := LoadManager(write(t, ManagerFile, "[[Common.Notify]]\n"+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), "Common.Notify[0]."+want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
