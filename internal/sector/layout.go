package sector

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// ID names a sector.
type ID struct {
	Miner  uint64 // actor number
	Number uint64
}

// String is the name of the sector's files: s-t01008-1.
func (id ID) String() string { return fmt.Sprintf("s-t0%d-%d", id.Miner, id.Number) }

// ParseID reads a file name like s-t01008-1; ok is false for any other name.
func ParseID(name string) (id ID, ok bool) {
	miner, number, found := strings.Cut(strings.TrimPrefix(name, "s-t0"), "-")
	if !found {
		return ID{}, false
	}
	var errMiner, errNumber error
	id.Miner, errMiner = strconv.ParseUint(miner, 10, 63)
	id.Number, errNumber = strconv.ParseUint(number, 10, 63)
	// Printing back refuses other spellings, like leading zeros.
	return id, errMiner == nil && errNumber == nil && id.String() == name
}

// Folders of a store. Updated (snap) sectors have their replica and cache in
// the latter two, beside those of the sector they were made from.
const (
	sealedDir      = "sealed"
	cacheDir       = "cache"
	updateDir      = "update"
	updateCacheDir = "update-cache"
)

// dirs names the folders of replica and cache.
func dirs(updated bool) (replica, cache string) {
	if updated {
		return updateDir, updateCacheDir
	}
	return sealedDir, cacheDir
}

// Files names the files of a sector in the store of the folder root: its replica
// and the directory of its cache; updated asks for those of a snap update.
func Files(root string, id ID, updated bool) (sealedFile, cacheDir string) {
	replica, cache := dirs(updated)
	return join(root, replica, id.String()), join(root, cache, id.String())
}

// storeOf is the store's folder as told by the path of a sector's file or cache
// directory in it: the parent of sealed, cache, update or update-cache.
func storeOf(file string) string {
	for range 2 {
		at := strings.LastIndexByte(file, '/')
		if at < 0 {
			return "."
		}
		file = file[:at]
	}
	if file == "" {
		return "/"
	}
	return file
}

// remotePrefix begins the paths of stores that are no folders.
const remotePrefix = "s3+"

// isRemote reports whether a path lies in an object store.
func isRemote(path string) bool { return strings.HasPrefix(path, remotePrefix) }

// cleanRoot is the one spelling of a store's folder.
func cleanRoot(path string) string {
	if isRemote(path) {
		return strings.TrimRight(path, "/")
	}
	return filepath.Clean(path)
}

// absoluteRoot is cleanRoot of an absolute path.
func absoluteRoot(path string) (string, error) {
	if isRemote(path) {
		return cleanRoot(path), nil
	}
	return filepath.Abs(path)
}

// join makes a path of a file in a folder. Unlike filepath.Join it leaves the
// folder as it is, which may be in an object store.
func join(folder string, names ...string) string {
	if folder == "/" {
		folder = ""
	}
	return folder + "/" + strings.Join(names, "/")
}
