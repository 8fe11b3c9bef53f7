package sip

import (
	"math/rand/v2"
	"syscall"
)

// mortal makes a child die when this process does, even by kill -9.
func mortal(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }

// nextPort is random: several test processes look for ports at once.
func nextPort() uint32 { return rand.Uint32() }
