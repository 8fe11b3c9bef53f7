package desk

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/internal/gid"
)

type (
	// FlowNodeKind is what a node does.
	FlowNodeKind string
	// BuiltInSound is a sound that needs no file.
	BuiltInSound string
	// FlowNode is one step as people see it.
	FlowNode struct {
		Key                   string
		Kind                  FlowNodeKind
		Title                 *string
		PromptID              *gid.ID
		Sound                 *BuiltInSound
		TimeoutSeconds, Tries *int
		QueueID               *gid.ID
		Exits                 []*FlowExit
	}
	// FlowExit is a way from a node to the next.
	FlowExit struct{ On, To string }
	// FlowProblem is what is wrong with a flow; NodeKey is nil for the whole.
	FlowProblem struct {
		NodeKey *string
		Message string
	}
	// FlowCreateInput makes a flow.
	FlowCreateInput struct{ Name string }
	// FlowUpdateInput changes a flow.
	FlowUpdateInput struct{ Name *string }
	// FlowDraftInput is a draft, whole.
	FlowDraftInput struct {
		StartKey string
		Nodes    []FlowNodeInput
		Comment  *string
	}
	// FlowNodeInput is one step.
	FlowNodeInput struct {
		Key                   string
		Kind                  FlowNodeKind
		Title                 *string
		PromptID              *gid.ID
		Sound                 *BuiltInSound
		TimeoutSeconds, Tries *int
		QueueID               *gid.ID
		Exits                 []FlowExitInput
	}
	// FlowExitInput is a way from a node to the next.
	FlowExitInput struct{ On, To string }
)

// The kinds of nodes.
const (
	FlowPrompt FlowNodeKind = "PROMPT"
	FlowMenu   FlowNodeKind = "MENU"
	FlowQueue  FlowNodeKind = "QUEUE"
	FlowHangUp FlowNodeKind = "HANG_UP"
)

// The built-in sounds.
const (
	SoundWelcome BuiltInSound = "WELCOME"
	SoundWaiting BuiltInSound = "WAITING"
	SoundError   BuiltInSound = "ERROR"
)

var (
	nodeKinds = map[FlowNodeKind]voice.NodeKind{FlowPrompt: voice.NodePrompt, FlowMenu: voice.NodeMenu, FlowQueue: voice.NodeQueue, FlowHangUp: voice.NodeHangUp}
	builtIn   = map[BuiltInSound]string{SoundWelcome: voice.SoundWelcome, SoundWaiting: voice.SoundWaiting, SoundError: voice.SoundError}
)

// keyFor finds the key of a value.
func keyFor[K, V comparable](m map[K]V, value V) (key K, found bool) {
	for k, v := range m {
		if v == value {
			return k, true
		}
	}
	return key, false
}

// documentOf is a version's flow: sounds are named by the id of a prompt, or by their built-in name.
func documentOf(v *ent.FlowVersion) (voice.Flow, error) {
	var f voice.Flow
	if err := json.Unmarshal(v.Document, &f); err != nil {
		return f, fmt.Errorf("decode version %s of a flow: %w", v.ID, err)
	}
	return f, nil
}

// FlowStart is the key of the node at which a version begins.
func FlowStart(v *ent.FlowVersion) (string, error) {
	f, err := documentOf(v)
	return f.Start, err
}

// FlowNodes are the nodes of a version, by key.
func FlowNodes(v *ent.FlowVersion) ([]*FlowNode, error) {
	f, err := documentOf(v)
	if err != nil {
		return nil, err
	}
	out := make([]*FlowNode, 0, len(f.Nodes))
	for _, key := range slices.Sorted(maps.Keys(f.Nodes)) {
		out = append(out, shownNode(key, f.Nodes[key]))
	}
	return out, nil
}

func shownNode(key string, n voice.Node) *FlowNode {
	out := &FlowNode{Key: key, Title: some(n.Title), TimeoutSeconds: someInt(n.TimeoutSeconds), Tries: someInt(n.Tries), Exits: []*FlowExit{}}
	out.Kind, _ = keyFor(nodeKinds, n.Kind)
	if n.Sound != nil {
		if s, found := keyFor(builtIn, n.Sound.Name); found {
			out.Sound = &s
		} else {
			out.PromptID = someID(n.Sound.Name)
		}
	}
	out.QueueID = someID(string(n.Queue))
	for _, on := range slices.Sorted(maps.Keys(n.Exits)) {
		out.Exits = append(out.Exits, &FlowExit{On: on, To: n.Exits[on]})
	}
	return out
}

func someInt(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

func someID(text string) *gid.ID {
	id, err := gid.Parse(text)
	if err != nil {
		return nil
	}
	return &id
}
