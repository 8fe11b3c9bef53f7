package redis_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tributary/internal/redis"
	"tributary/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpen(t *testing.T) {
	t.Parallel()
	c, err := redis.Open(testdb.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	if tls, err := redis.Open("rediss://cache.example:6380/2"); err != nil || tls.Options().TLSConfig == nil || tls.Options().DB != 2 {
		t.Errorf("rediss:// gives no TLS: %v", err)
	} else {
		_ = tls.Close()
	}
}

func TestOpenKeepsThePasswordToItself(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"redis://:secret@host:port/0", "http://:secret@host", "redis://:secret@host/none", "redis://:secret@host/0?what=1", ":secret",
		"redis://:secret/x@host:6379", "redis://user:6379/secret@host", "redis://:%secret@host",
	} {
		_, err := redis.Open(address)
		if err == nil {
			t.Errorf("%s was taken", address)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

// A server that takes the connection and never answers costs no more than the deadline.
func TestDeadlineOfTheContextHolds(t *testing.T) {
	t.Parallel()
	address, _ := testdb.PrivateRedis(t)
	c, err := redis.Open(address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Do(t.Context(), "CLIENT", "PAUSE", "20000", "ALL").Err(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := c.Ping(ctx).Err(); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}
