package config

import (
	"os"
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
