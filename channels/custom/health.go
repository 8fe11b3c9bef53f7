package custom

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"tributary/channels"
)

// probe is the id that no message has.
const probe = "health"

var _ channels.HealthChecker = asker{}

// CheckHealth implements channels.HealthChecker by a question to the statusUrl about a message that never was. A bridge
// that takes our signature answers that it knows nothing of it.
func (c asker) CheckHealth(ctx context.Context) error {
	where, err := withID(c.config.StatusURL, probe)
	if err != nil {
		return channels.ConfigError(err)
	}
	ctx, cancel := channels.WithTimeout(ctx, c.clock, patience)
	defer cancel()
	a, err := c.call(ctx, http.MethodGet, where, probe, nil)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	err = fmt.Errorf("ask for health: answer %d", a.Status)
	switch {
	case a.Status == http.StatusOK && json.Valid(a.Body):
		return nil
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return channels.AuthBroken(err).WithText("The bridge refuses our signature.")
	case a.Status == http.StatusTooManyRequests, a.Status == http.StatusServiceUnavailable:
		return channels.RetryAfter(err, c.wait(a.Header)).WithText("The bridge is busy.")
	case a.Status < 500:
		return channels.ConfigError(err).WithText("The status URL does not answer questions.")
	}
	return err
}
