//go:build !amd64 || purego

package kernel

func hasAVX2() bool { return false }
func hasIFMA() bool { return false }
