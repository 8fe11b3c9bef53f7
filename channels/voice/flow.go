package voice

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Flow is one version of what a caller goes through before he waits: nodes with named exits, as data. A call keeps the
// version it began with.
type Flow struct {
	ID      ID     `json:"id"`
	Version int    `json:"version"`
	Start   string `json:"start"`
	// Nodes by key.
	Nodes map[string]Node `json:"nodes"`
}

// NodeKind is what a node does.
type NodeKind string

// The kinds of nodes.
const (
	// NodePrompt plays Sound, then leaves by "done".
	NodePrompt NodeKind = "prompt"
	// NodeMenu plays Sound, which a key ends, and waits Timeout for one of the digits that have an exit; leaves by that
	// digit, by "invalid" after Tries wrong ones, by "timeout" after Tries silences.
	NodeMenu NodeKind = "menu"
	// NodeQueue hands over to Queue and ends the flow.
	NodeQueue NodeKind = "queue"
	// NodeHangUp plays Sound, if it has one, and ends the call.
	NodeHangUp NodeKind = "hang_up"
)

// Node is one step.
type Node struct {
	Kind  NodeKind `json:"kind"`
	Title string   `json:"title,omitempty"`
	Sound *Sound   `json:"sound,omitempty"`
	// TimeoutSeconds of a menu's silence, 1 to 60; 0: 5. Tries, 1 to 10; 0: 3.
	TimeoutSeconds int `json:"timeoutSeconds,omitempty"`
	Tries          int `json:"tries,omitempty"`
	Queue          ID  `json:"queue,omitempty"`
	// Exits name the next node, by exit.
	Exits map[string]string `json:"exits,omitempty"`
}

// Exits that are not digits.
const (
	ExitDone    = "done"
	ExitTimeout = "timeout"
	ExitInvalid = "invalid"
)

// MaxNodes bounds a flow.
const MaxNodes = 200

// Timeout is how long a menu waits for a key.
func (n Node) Timeout() time.Duration {
	if n.TimeoutSeconds == 0 {
		return 5 * time.Second
	}
	return time.Duration(n.TimeoutSeconds) * time.Second
}

// MaxTries is how often a menu asks.
func (n Node) MaxTries() int {
	if n.Tries == 0 {
		return 3
	}
	return n.Tries
}

// Problem is what is wrong with a flow, and where; Node is empty for the whole.
type Problem struct{ Node, Message string }

// Check finds everything that would leave a caller stuck: unknown nodes and exits, missing exits, nodes nobody reaches,
// and ways without an end. The list is in the order of keys; an empty one means that the flow can be run.
func (f Flow) Check() []Problem {
	var out []Problem
	if len(f.Nodes) == 0 || len(f.Nodes) > MaxNodes {
		return []Problem{{"", fmt.Sprintf("a flow has 1 to %d nodes", MaxNodes)}}
	}
	if _, ok := f.Nodes[f.Start]; !ok {
		out = append(out, Problem{"", fmt.Sprintf("the start %q is no node", f.Start)})
	}
	for _, key := range slices.Sorted(maps.Keys(f.Nodes)) {
		for _, text := range f.checkNode(f.Nodes[key]) {
			out = append(out, Problem{key, text})
		}
	}
	if len(out) > 0 {
		return out
	}
	return f.checkWays()
}

func (f Flow) checkNode(n Node) (out []string) {
	need, digits := []string(nil), false
	switch n.Kind {
	case NodePrompt:
		need = []string{ExitDone}
		if n.Sound == nil {
			out = append(out, "a prompt needs a sound")
		}
	case NodeMenu:
		need, digits = []string{ExitTimeout, ExitInvalid}, true
		if n.TimeoutSeconds < 0 || n.TimeoutSeconds > 60 || n.Tries < 0 || n.Tries > 10 {
			out = append(out, "a menu waits 1 to 60 seconds and asks 1 to 10 times")
		}
	case NodeQueue, NodeHangUp:
	default:
		return []string{fmt.Sprintf("the kind %q is unknown", n.Kind)}
	}
	if n.Kind != NodeQueue && n.Queue != "" {
		out = append(out, "only a queue node names a queue")
	}
	if n.Kind == NodeQueue && n.Sound != nil {
		out = append(out, "a queue node plays nothing: who waits hears the queue's own prompt")
	}
	if n.Kind != NodeMenu && (n.TimeoutSeconds != 0 || n.Tries != 0) {
		out = append(out, "only a menu waits and asks again")
	}
	for _, exit := range need {
		if _, ok := n.Exits[exit]; !ok {
			out = append(out, fmt.Sprintf("the exit %q is missing", exit))
		}
	}
	keys := 0
	for _, exit := range slices.Sorted(maps.Keys(n.Exits)) {
		digit := digits && len(exit) == 1 && strings.Contains(Digits, exit)
		if digit {
			keys++
		}
		if !digit && !slices.Contains(need, exit) {
			out = append(out, fmt.Sprintf("a %s has no exit %q", n.Kind, exit))
		}
		if _, ok := f.Nodes[n.Exits[exit]]; !ok {
			out = append(out, fmt.Sprintf("the exit %q leads to %q, which is no node", exit, n.Exits[exit]))
		}
	}
	if digits && keys == 0 {
		out = append(out, "a menu needs an exit for at least one digit")
	}
	return out
}

// Digits are the keys of a phone (RFC 4733 section 3.2).
const Digits = "0123456789*#ABCD"

// checkWays finds nodes that no way leads to, and nodes from which no way ends without a key: a caller who does nothing
// must arrive somewhere.
func (f Flow) checkWays() (out []Problem) {
	reached := map[string]bool{}
	var walk func(string)
	walk = func(key string) {
		if reached[key] {
			return
		}
		reached[key] = true
		for _, to := range f.Nodes[key].Exits {
			walk(to)
		}
	}
	walk(f.Start)
	for _, key := range slices.Sorted(maps.Keys(f.Nodes)) {
		if !reached[key] {
			out = append(out, Problem{key, "no way leads here"})
		}
		if f.idles(key) {
			out = append(out, Problem{key, "who presses nothing never gets on from here"})
		}
	}
	return out
}

// idles reports whether a caller who presses nothing goes round for ever from the node.
func (f Flow) idles(key string) bool {
	for range len(f.Nodes) + 1 {
		n := f.Nodes[key]
		switch n.Kind {
		case NodePrompt:
			key = n.Exits[ExitDone]
		case NodeMenu:
			key = n.Exits[ExitTimeout]
		default:
			return false
		}
	}
	return true
}
