package channeltest

import (
	"testing"

	"tributary/channels"
)

// HealthFake is a provider whose credentials can be asked about.
type HealthFake interface {
	// Refuse makes the provider refuse the channel's credentials from now on.
	Refuse()
}

// healthy proves that CheckHealth tells good credentials, a provider out of reach and refused credentials apart.
func healthy(t *testing.T, r *rig) {
	checker, _ := r.channel.(channels.HealthChecker)
	fake, _ := r.fake.(HealthFake)
	r.dialer.Down(true) // first: a connection that is kept would get through
	err := checker.CheckHealth(t.Context())
	r.discreet(t, err)
	if channels.ClassOf(err) != channels.ClassRetry {
		t.Errorf("a provider out of reach gave %v (class %q), want a temporary error", err, channels.ClassOf(err))
	}
	r.dialer.Down(false)
	if err := checker.CheckHealth(t.Context()); err != nil {
		t.Errorf("good credentials gave %v", err)
	}
	fake.Refuse()
	err = checker.CheckHealth(t.Context())
	r.discreet(t, err)
	if class := channels.ClassOf(err); class != channels.ClassAuthBroken && class != channels.ClassAuthExpired {
		t.Errorf("refused credentials gave %v (class %q)", err, class)
	}
}
