package sip

import "syscall"

// mortal makes a child die when this process does, even by kill -9.
func mortal(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
