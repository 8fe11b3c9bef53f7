//go:build !(darwin || linux || freebsd || netbsd || openbsd || dragonfly)

package crypt

// lock does nothing where the standard library has no file lock. Creation stays safe through the hard link in place; two
// processes must not rotate the same file at once.
func lock(string) (unlock func(), err error) { return func() {}, nil }
