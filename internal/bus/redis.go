package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"tributary/internal/redis"
)

// NewRedis makes the bus of nodes that share a Redis, over its Pub/Sub. The error is an address that cannot be read;
// nothing is connected before Run.
func NewRedis(o Options) (*Remote, error) {
	// Opened to have the address looked at, and because Pub/Sub knows no databases: the number goes into the name.
	c, err := redis.Open(o.URL)
	if err != nil {
		return nil, err
	}
	channel := cmp.Or(o.Prefix, "tributary") + ":bus:" + strconv.Itoa(c.Options().DB)
	if err := c.Close(); err != nil {
		return nil, err
	}
	r := newRemote(o.Log)
	r.connect = func(ctx context.Context) (link, error) { return dialRedis(ctx, o.URL, channel, r.pace) }
	return r, nil
}

// redisLink is a subscription and, because a subscribed connection can do nothing else, a client to publish with.
//
// The client lives as long as the subscription: a pool that has seen a server die would dial behind our back, at its own
// pace.
type redisLink struct {
	client  *goredis.Client
	sub     *goredis.PubSub
	channel string
	silence time.Duration // how long a living server can be silent
}

func dialRedis(ctx context.Context, url, channel string, p pace) (link, error) {
	client, err := redis.Open(url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	l := &redisLink{client: client, sub: client.Subscribe(ctx, channel), channel: channel, silence: p.pulse + p.patience}
	answer, err := l.sub.ReceiveTimeout(ctx, p.patience)
	if err == nil {
		if _, ok := answer.(*goredis.Subscription); ok {
			return l, nil
		}
		err = fmt.Errorf("subscribe: the answer is %v", answer)
	}
	l.close()
	return nil, err
}

var errResubscribed = errors.New("the client has connected again by itself")

func (l *redisLink) receive(ctx context.Context, hand func(string)) error {
	for {
		m, err := l.sub.ReceiveTimeout(ctx, l.silence)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *goredis.Message:
			hand(m.Payload)
		case *goredis.Subscription:
			// Something was lost in between. Another session says so to all.
			return errResubscribed
		}
	}
}

func (l *redisLink) send(ctx context.Context, payloads []string) error {
	_, err := l.client.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, payload := range payloads {
			p.Publish(ctx, l.channel, payload)
		}
		return nil
	})
	return err
}

// ping asks on both connections; the answer of the subscribed one comes to receive.
func (l *redisLink) ping(ctx context.Context) error {
	if err := l.sub.Ping(ctx); err != nil {
		return err
	}
	return l.client.Ping(ctx).Err()
}

func (l *redisLink) close() {
	_ = l.sub.Close()
	_ = l.client.Close()
}
