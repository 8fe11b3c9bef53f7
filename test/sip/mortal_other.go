//go:build !linux

package sip

import "syscall"

// mortal can do nothing here: a child outlives a process that is killed.
func mortal(*syscall.SysProcAttr) {}
