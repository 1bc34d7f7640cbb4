package store

import "testing"

func TestMountIn(t *testing.T) {
	const table = `22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:50 / /mnt/a rw - nfs4 one:/a rw
41 22 0:51 / /mnt/a\040b rw - nfs4 one:/ab rw
42 40 0:52 / /mnt/a rw - nfs4 two:/a rw
broken
`
	for path, want := range map[string]string{
		"/mnt/a/sealed": "42 0:52 /", "/mnt/a": "42 0:52 /", "/mnt/a b/x": "41 0:51 /", "/mnt/ab": "22 8:1 /", "s3://bucket": "",
	} {
		if got := mountIn(table, path); got != want {
			t.Errorf("%s lies on %q, want %q", path, got, want)
		}
	}
	if MountOf("/") == "" {
		t.Error("nothing is mounted on /")
	}
}
