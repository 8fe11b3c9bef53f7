//go:build !(darwin || linux || freebsd || netbsd || openbsd || dragonfly)

package blob

import "os"

const locks = false

func tryLock(*os.File) (bool, error) { return true, nil }
