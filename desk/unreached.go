package desk

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"tributary/channels"
	"tributary/internal/dial"
)

// reason is what people read of a failure of a channel: the kind's own words, else why its server was not reached, else
// what is said of such failures in general. It names no address: a name inside may resolve to one that is nobody's business.
func reason(err error, otherwise string) string {
	var e *channels.Error
	if errors.As(err, &e) && e.Text != "" {
		return e.Text
	}
	var dns *net.DNSError
	switch {
	case errors.Is(err, dial.ErrRefused):
		return "the server's address is in a network that may not be connected to; who runs this service opens it (--allow-dial)"
	case errors.As(err, &dns):
		return "the server's name cannot be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody answers at the server's port"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return "the server did not answer in time"
	}
	return otherwise
}
