package testdb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Redis is the address of an empty Redis database that no other test uses at
// the same time; it is flushed when the test ends. Pub/Sub has no databases:
// on a shared server a test hears the channels of others, so names of channels
// must be unique or spurious wake-ups harmless.
func Redis(t testing.TB) string {
	t.Helper()
	server, err := sharedRedis()
	if err != nil {
		Missing(t, "Redis", err)
	}
	claim := fmt.Sprintf("%s%d_%d", ownerPrefix(), os.Getpid(), claims.Add(1))
	deadline := time.Now().Add(2 * time.Minute)
	for {
		for number := 1; number < 16; number++ {
			ok, err := claimRedis(server, number, claim)
			if err != nil {
				t.Fatalf("claim a Redis database: %v", err)
			}
			if ok {
				t.Cleanup(func() {
					if _, err := redisDo(server, number, "FLUSHDB"); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
						t.Errorf("flush Redis: %v", err)
					}
				})
				return withDatabase(server, strconv.Itoa(number))
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("all Redis databases are in use by other tests")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

var claims atomic.Int64

const claimKey = "tributary:test:owner"

// claimRedis takes a database that is free or whose owner is dead.
func claimRedis(server string, number int, claim string) (bool, error) {
	owner, err := redisDo(server, number, "GET", claimKey)
	if err != nil {
		return false, err
	}
	if owner != "" && !ownerIsGone(owner) {
		return false, nil
	}
	const take = `if (redis.call('get',KEYS[1]) or '')~=ARGV[1] then return '' end
redis.call('flushdb') redis.call('set',KEYS[1],ARGV[2]) return 'taken'`
	answer, err := redisDo(server, number, "EVAL", take, "1", claimKey, owner, claim)
	return answer == "taken", err
}

var sharedRedis = sync.OnceValues(func() (string, error) {
	if server := os.Getenv("TEST_REDIS_URL"); server != "" {
		_, err := redisDo(server, 0, "PING")
		return server, err
	}
	s, err := startRedis()
	if err != nil {
		return "", fmt.Errorf("TEST_REDIS_URL is not set, and no private server could be started: %w", err)
	}
	return s.URL(), nil
})

// RedisServer is a Redis server of one test. It keeps nothing over a restart.
type RedisServer struct {
	dir    string
	port   int
	remove func()
}

// PrivateRedis starts a server that the test alone uses and may stop.
func PrivateRedis(t testing.TB) (string, *RedisServer) {
	t.Helper()
	s, err := startRedis()
	if err != nil {
		Missing(t, "private Redis", err)
	}
	t.Cleanup(s.remove)
	return s.URL(), s
}

// URL is the server's address. It stays the same over restarts.
func (s *RedisServer) URL() string { return fmt.Sprintf("redis://127.0.0.1:%d", s.port) }

// Start starts a stopped server and waits until it answers.
func (s *RedisServer) Start() error {
	err := asUser{}.run(s.dir, "redis-server", "--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir,
		"--save", "", "--appendonly", "no", "--daemonize", "yes", "--pidfile", filepath.Join(s.dir, "pid"),
		"--logfile", filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	for range 100 {
		if _, err = redisDo(s.URL(), 0, "PING"); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

// Kill ends the server at once and waits until it is gone.
func (s *RedisServer) Kill() error {
	text, err := os.ReadFile(filepath.Join(s.dir, "pid"))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	for range 100 {
		if _, err := redisDo(s.URL(), 0, "PING"); err != nil {
			return os.Remove(filepath.Join(s.dir, "pid"))
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("redis answers after its end")
}

// Restart kills the server and starts an empty one in its place.
func (s *RedisServer) Restart() error {
	if err := s.Kill(); err != nil {
		return err
	}
	return s.Start()
}

func startRedis() (*RedisServer, error) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tributary-redis-")
	if err != nil {
		return nil, err
	}
	s := &RedisServer{dir: dir}
	if s.remove, err = outlive(`kill -KILL "$(cat "$1/pid")" 2>/dev/null; rm -rf -- "$1"`, dir); err != nil {
		return nil, err
	}
	for range 5 {
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.Start(); err == nil {
			return s, nil
		}
	}
	s.remove()
	return nil, err
}

// redisDo sends one command on a connection of its own and reads a simple
// answer. It is all of the protocol that this package needs.
func redisDo(server string, number int, command ...string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "6379")
	}
	conn, err := net.DialTimeout("tcp", host, 2*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	r := bufio.NewReader(conn)
	var commands [][]string
	if password, ok := u.User.Password(); ok {
		auth := []string{"AUTH", password}
		if name := u.User.Username(); name != "" {
			auth = []string{"AUTH", name, password}
		}
		commands = append(commands, auth)
	}
	commands = append(commands, []string{"SELECT", strconv.Itoa(number)}, command)
	answer := ""
	for _, c := range commands {
		if err := redisWrite(conn, c); err != nil {
			return "", err
		}
		if answer, err = redisRead(r); err != nil {
			return "", fmt.Errorf("redis %s: %w", c[0], err)
		}
	}
	return answer, nil
}

func redisWrite(w io.Writer, command []string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(command))
	for _, arg := range command {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func redisRead(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("empty answer")
	}
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '-':
		return "", errors.New(line[1:])
	case '$':
		n, err := strconv.Atoi(line[1:])
		if err != nil || n < 0 {
			return "", err
		}
		text := make([]byte, n+2)
		_, err = io.ReadFull(r, text)
		return string(text[:n]), err
	}
	return "", fmt.Errorf("unexpected answer %q", line)
}
