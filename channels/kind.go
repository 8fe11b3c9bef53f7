package channels

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"sync"
)

// Kind describes one sort of channel. It is a value made once, in init.
type Kind struct {
	// Name is the key in data and addresses: lower case, digits, underscore.
	Name string
	// Title is the English name for people.
	Title string
	// Description says in a sentence what the kind joins the desk to.
	Description string
	// Config is a struct value whose tags give the JSON schema, the checks
	// and, by fields of type Secret, the secrets; see ConfigSchema.
	Config any
	// Capabilities are those of a channel with the default configuration; an
	// opened channel that implements Declares knows its own better.
	Capabilities Capabilities
	// Live says whether an interaction ends when the customer goes.
	Live Liveness
	// JoinOpen is the default of the channel's setting of that name: without
	// a thread match, a message joins the customer's open conversation.
	JoinOpen bool
	// Identities are the identity kinds its events carry.
	Identities []string
	// Open makes the running channel from what DecodeConfig returned. It does
	// no I/O; it fails with the class Config when a setting cannot work.
	Open func(cfg any, host Host) (Channel, error)
}

// Channel is one opened channel. What it can do is found by asserting the
// capability interfaces. Close ends its goroutines and waits for them.
type Channel interface{ Close() error }

// Liveness says whether an interaction lasts only while the customer is there.
type Liveness string

// The values of Liveness.
const (
	// Asynchronous interactions wait for an answer: mail, direct messages, SMS.
	Asynchronous Liveness = "asynchronous"
	// Live interactions end when the customer goes: voice and video.
	Live Liveness = "live"
	// LiveWhileOnline interactions are live while the customer's presence is held
	// and asynchronous after: web chat.
	LiveWhileOnline Liveness = "live_while_online"
)

var (
	registryMu sync.RWMutex
	registry   = map[string]Kind{}
	nameShape  = regexp.MustCompile(`^[a-z][a-z0-9_]{1,39}$`)
)

// Register adds a kind; it is called from init only. It panics on a second
// kind of the same name and on a kind that cannot work (no name, no Open, a
// Config whose tags are wrong): such a binary must not start.
func Register(k Kind) {
	if err := checkKind(k); err != nil {
		panic(fmt.Sprintf("channels: register %q: %v", k.Name, err))
	}
	registryMu.Lock()
	defer registryMu.Unlock()
	if _, twice := registry[k.Name]; twice {
		panic(fmt.Sprintf("channels: register %q: registered twice", k.Name))
	}
	registry[k.Name] = k
}

func checkKind(k Kind) error {
	switch {
	case !nameShape.MatchString(k.Name):
		return fmt.Errorf("name must match %s", nameShape)
	case k.Title == "":
		return fmt.Errorf("title is missing")
	case k.Open == nil:
		return fmt.Errorf("open is missing")
	case k.Live != Asynchronous && k.Live != Live && k.Live != LiveWhileOnline:
		return fmt.Errorf("liveness %q is unknown", k.Live)
	case k.Config == nil:
		return fmt.Errorf("config is missing")
	}
	_, err := structFields(reflect.TypeOf(k.Config))
	return err
}

// Lookup returns the kind of that name.
func Lookup(name string) (Kind, bool) {
	registryMu.RLock()
	defer registryMu.RUnlock()
	k, ok := registry[name]
	return k, ok
}

// Kinds returns all kinds, sorted by name.
func Kinds() []Kind {
	registryMu.RLock()
	defer registryMu.RUnlock()
	list := make([]Kind, 0, len(registry))
	for _, name := range slices.Sorted(maps.Keys(registry)) {
		list = append(list, registry[name])
	}
	return list
}
