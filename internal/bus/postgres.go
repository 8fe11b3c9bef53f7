package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/lib/pq"
)

const (
	// application is the name by which an operator finds our connections in pg_stat_activity.
	application = "tributary bus"
	// dialSeconds bounds a connection from the first packet to the end of the login.
	dialSeconds = "2"
	// maxIdentifier is PostgreSQL's bound for names of channels.
	maxIdentifier = 63
)

// NewPostgres makes the bus of nodes that share a PostgreSQL, over its LISTEN and NOTIFY. The error is an address or a
// prefix that cannot be used; nothing is connected before Run. The connection must be the server's own: a pooler that
// takes it away between transactions loses the subscription.
func NewPostgres(o Options) (*Remote, error) {
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// The parser's error holds the whole address with the password.
		return nil, errors.New("read the address of PostgreSQL: it must be a URL that begins with postgres://")
	}
	q := u.Query()
	q.Set("application_name", application)
	if q.Get("connect_timeout") == "" {
		q.Set("connect_timeout", dialSeconds)
	}
	u.RawQuery = q.Encode()
	channel := cmp.Or(o.Prefix, "tributary") + "_bus"
	if len(channel) > maxIdentifier {
		return nil, fmt.Errorf("the prefix %q is longer than PostgreSQL allows", o.Prefix)
	}
	r := newRemote(o.Log)
	r.connect = func(ctx context.Context) (link, error) { return dialPostgres(ctx, u.String(), channel, r.pace) }
	return r, nil
}

// postgresLink is one connection that listens and notifies.
//
// It is lib/pq's ListenerConn and neither its Listener nor database/sql: both wait without a bound for the answer of a
// server that has died silently, a Listener even when it is to be closed. Here closing the connection ends every wait.
type postgresLink struct {
	conn    *pq.ListenerConn
	notes   chan *pq.Notification
	channel string
}

func dialPostgres(ctx context.Context, dsn, channel string, p pace) (link, error) {
	l := &postgresLink{notes: make(chan *pq.Notification, 32), channel: channel}
	var err error
	if l.conn, err = pq.NewListenerConn(dsn, l.notes); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	if err := l.exec(ctx, "LISTEN "+pq.QuoteIdentifier(channel)); err != nil {
		l.close()
		for range l.notes { // lib/pq's goroutine waits for its reader
		}
		return nil, err
	}
	return l, nil
}

// exec runs one statement, or ends the connection when ctx does.
func (l *postgresLink) exec(ctx context.Context, statement string) error {
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	_, err := l.conn.ExecSimpleQuery(statement)
	return err
}

func (l *postgresLink) receive(_ context.Context, hand func(string)) error {
	for n := range l.notes {
		hand(n.Extra)
	}
	return l.conn.Err()
}

func (l *postgresLink) send(ctx context.Context, payloads []string) error {
	quoted := make([]string, len(payloads))
	for i, p := range payloads {
		quoted[i] = pq.QuoteLiteral(p)
	}
	return l.exec(ctx, "SELECT pg_notify("+pq.QuoteLiteral(l.channel)+", p) FROM unnest(ARRAY["+strings.Join(quoted, ",")+"]) p")
}

// ping is an empty statement. Not the library's own: that panics when an operator cancels it.
func (l *postgresLink) ping(ctx context.Context) error { return l.exec(ctx, "") }

func (l *postgresLink) close() { _ = l.conn.Close() }
