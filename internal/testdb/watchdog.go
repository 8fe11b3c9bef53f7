package testdb

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// outlive starts a shell that waits until this process is gone, however it
// ended, and then runs script with args as $1, $2 … There is no other hook: a
// test process that runs into its timeout or is killed calls nothing.
//
// The returned func makes the script run now.
func outlive(script string, args ...string) (func(), error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", "cat >/dev/null\n" + script, "sh"}, args...)...)
	// The end of this process closes the pipe, and cat ends. A group of its
	// own keeps the shell alive when the terminal interrupts the tests.
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the watchdog: %w", err)
	}
	keep(pipe)
	return sync.OnceFunc(func() {
		_ = pipe.Close()
		_ = cmd.Wait()
	}), nil
}

// keep holds on to the pipes: one that is collected is closed.
func keep(c io.Closer) {
	kept.Lock()
	defer kept.Unlock()
	kept.pipes = append(kept.pipes, c)
}

var kept struct {
	sync.Mutex
	pipes []io.Closer
}

// processDir is a folder that lives as long as this process.
var processDir = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "tributary-test-")
	if err != nil {
		return "", err
	}
	if _, err := outlive(`rm -rf -- "$1"`, dir); err != nil {
		return "", err
	}
	return dir, nil
})

// freePort is a port of loopback that nobody listens at. Another process may
// take it before its user does, so callers try again.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// asUser lets a command run as an unprivileged user where this process is
// root: PostgreSQL refuses to serve as root. The zero value changes nothing.
type asUser struct{ credential *syscall.Credential }

func unprivileged() (asUser, error) {
	if os.Geteuid() != 0 {
		return asUser{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return asUser{&syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
		}
	}
	return asUser{}, fmt.Errorf("running as root, and there is no user postgres or nobody to run the server as")
}

// run runs a command in dir to its end. The error holds what it printed.
func (u asUser) run(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+dir)
	if u.credential != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential}
	}
	out, err := os.CreateTemp("", "tributary-test-out-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	// A file, not a pipe: a daemon that the command leaves behind would hold a
	// pipe open, and waiting for its end would take for ever.
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(text)))
	}
	return nil
}

// folder is a new folder that the user owns.
func (u asUser) folder(prefix string) (string, error) {
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return "", err
	}
	if u.credential == nil {
		return dir, nil
	}
	return dir, os.Chown(dir, int(u.credential.Uid), int(u.credential.Gid))
}
