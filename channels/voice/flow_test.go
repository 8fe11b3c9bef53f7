package voice_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"tributary/channels/voice"
)

type (
	nodes = map[string]voice.Node
	exits = map[string]string
)

var sound = &voice.Sound{Name: voice.SoundWelcome}

// good is a flow with every kind of node that can be run.
func good() voice.Flow {
	return voice.Flow{Start: "hello", Nodes: nodes{
		"hello": {Kind: voice.NodePrompt, Sound: sound, Exits: exits{"done": "menu"}},
		"menu": {
			Kind: voice.NodeMenu, Sound: sound, TimeoutSeconds: 60, Tries: 10,
			Exits: exits{"1": "sales", "*": "hello", "timeout": "service", "invalid": "bye"},
		},
		"sales":   {Kind: voice.NodeQueue, Queue: "que_1"},
		"service": {Kind: voice.NodeQueue},
		"bye":     {Kind: voice.NodeHangUp, Sound: sound},
	}}
}

func TestAGoodFlowHasNoProblem(t *testing.T) {
	t.Parallel()
	if got := good().Check(); len(got) > 0 {
		t.Errorf("problems are %v", got)
	}
}

// TestEachProblemIsFound breaks a good flow in one way at a time: exactly that is told, at its node.
func TestEachProblemIsFound(t *testing.T) {
	t.Parallel()
	node := func(key string, change func(*voice.Node)) func(*voice.Flow) {
		return func(f *voice.Flow) {
			n := f.Nodes[key]
			n.Exits = maps.Clone(n.Exits)
			change(&n)
			f.Nodes[key] = n
		}
	}
	for name, c := range map[string]struct {
		breaks func(*voice.Flow)
		at     string
		says   string
	}{
		"no nodes":         {func(f *voice.Flow) { f.Nodes = nil }, "", "1 to 200 nodes"},
		"too many nodes":   {func(f *voice.Flow) { f.Nodes = many(voice.MaxNodes + 1) }, "", "1 to 200 nodes"},
		"start is absent":  {func(f *voice.Flow) { f.Start = "nowhere" }, "", `the start "nowhere"`},
		"unknown kind":     {node("bye", func(n *voice.Node) { n.Kind = "dance" }), "bye", `the kind "dance"`},
		"prompt, silent":   {node("hello", func(n *voice.Node) { n.Sound = nil }), "hello", "needs a sound"},
		"prompt, no way":   {node("hello", func(n *voice.Node) { n.Exits = nil }), "hello", `"done" is missing`},
		"menu, no timeout": {node("menu", func(n *voice.Node) { delete(n.Exits, "timeout") }), "menu", `"timeout" is missing`},
		"menu, no invalid": {node("menu", func(n *voice.Node) { delete(n.Exits, "invalid") }), "menu", `"invalid" is missing`},
		"menu, no digit": {node("menu", func(n *voice.Node) {
			delete(n.Exits, "1")
			delete(n.Exits, "*")
		}), "menu", "at least one digit"},
		"menu, two digits":      {node("menu", func(n *voice.Node) { n.Exits["12"] = "sales" }), "menu", `no exit "12"`},
		"menu, no phone's key":  {node("menu", func(n *voice.Node) { n.Exits["x"] = "sales" }), "menu", `no exit "x"`},
		"menu, empty exit":      {node("menu", func(n *voice.Node) { n.Exits[""] = "sales" }), "menu", `no exit ""`},
		"menu waits too long":   {node("menu", func(n *voice.Node) { n.TimeoutSeconds = 61 }), "menu", "1 to 60 seconds"},
		"menu waits less":       {node("menu", func(n *voice.Node) { n.TimeoutSeconds = -1 }), "menu", "1 to 60 seconds"},
		"menu asks too often":   {node("menu", func(n *voice.Node) { n.Tries = 11 }), "menu", "1 to 10 times"},
		"exit to nowhere":       {node("menu", func(n *voice.Node) { n.Exits["1"] = "nowhere" }), "menu", `leads to "nowhere"`},
		"queue with an exit":    {node("sales", func(n *voice.Node) { n.Exits = exits{"done": "bye"} }), "sales", `a queue has no exit "done"`},
		"hang-up with an exit":  {node("bye", func(n *voice.Node) { n.Exits = exits{"done": "sales"} }), "bye", `a hang_up has no exit "done"`},
		"prompt with a queue":   {node("hello", func(n *voice.Node) { n.Queue = "que_1" }), "hello", "only a queue node"},
		"queue with a sound":    {node("sales", func(n *voice.Node) { n.Sound = sound }), "sales", "plays nothing"},
		"prompt that waits":     {node("hello", func(n *voice.Node) { n.TimeoutSeconds = 5 }), "hello", "only a menu waits"},
		"queue that asks":       {node("service", func(n *voice.Node) { n.Tries = 2 }), "service", "only a menu waits"},
		"nobody reaches it":     {func(f *voice.Flow) { f.Nodes["island"] = voice.Node{Kind: voice.NodeHangUp} }, "island", "no way leads here"},
		"silence goes in round": {node("menu", func(n *voice.Node) { n.Exits["timeout"] = "hello" }), "hello", "never gets on"},
	} {
		f := good()
		c.breaks(&f)
		got := f.Check()
		if !slices.ContainsFunc(got, func(p voice.Problem) bool { return p.Node == c.at && strings.Contains(p.Message, c.says) }) {
			t.Errorf("%s: problems are %v, want %q at %q", name, got, c.says, c.at)
		}
		if name != "silence goes in round" && len(got) != 1 { // that one holds for every node of the round
			t.Errorf("%s: %d problems: %v", name, len(got), got)
		}
	}
}

// many is a flow of prompts in a row.
func many(n int) nodes {
	out := nodes{"n0": {Kind: voice.NodeHangUp}}
	for i := 1; i < n; i++ {
		out[fmt.Sprint("n", i)] = voice.Node{Kind: voice.NodePrompt, Sound: sound, Exits: exits{"done": fmt.Sprint("n", i-1)}}
	}
	return out
}

// TestTheLongestFlowIsTaken: the bound is the last number that works, and a long way is no round.
func TestTheLongestFlowIsTaken(t *testing.T) {
	t.Parallel()
	f := voice.Flow{Start: fmt.Sprint("n", voice.MaxNodes-1), Nodes: many(voice.MaxNodes)}
	if got := f.Check(); len(got) > 0 {
		t.Errorf("problems are %v", got)
	}
}

func TestProblemsAreInOrderOfKeys(t *testing.T) {
	t.Parallel()
	f := voice.Flow{Start: "a", Nodes: nodes{"a": {Kind: "x"}, "c": {Kind: "x"}, "b": {Kind: "x"}, "d": {Kind: "x"}}}
	var keys []string
	for _, p := range f.Check() {
		keys = append(keys, p.Node)
	}
	if !slices.Equal(keys, []string{"a", "b", "c", "d"}) {
		t.Errorf("the order is %v", keys)
	}
}

func TestAMenusTimesHaveDefaults(t *testing.T) {
	t.Parallel()
	if n := (voice.Node{}); n.Timeout().Seconds() != 5 || n.MaxTries() != 3 {
		t.Errorf("defaults are %v, %d", n.Timeout(), n.MaxTries())
	}
	if n := (voice.Node{TimeoutSeconds: 7, Tries: 2}); n.Timeout().Seconds() != 7 || n.MaxTries() != 2 {
		t.Errorf("they are %v, %d", n.Timeout(), n.MaxTries())
	}
}

// ends walks as somebody does who presses nothing, by rules of its own: from every node of a flow without problems he
// arrives at an end within as many steps as there are nodes.
func ends(f voice.Flow, key string) bool {
	for range len(f.Nodes) {
		n := f.Nodes[key]
		if n.Kind == voice.NodeQueue || n.Kind == voice.NodeHangUp {
			return true
		}
		next, there := n.Exits["done"]
		if n.Kind == voice.NodeMenu {
			next, there = n.Exits["timeout"]
		}
		if _, known := f.Nodes[next]; !there || !known {
			return false
		}
		key = next
	}
	return false
}

// FuzzFlowCheck: whatever a document holds, the check returns, and a flow that it finds good can be run: it has a start,
// and no caller goes round for ever.
func FuzzFlowCheck(f *testing.F) {
	seed := func(flow voice.Flow) {
		b, err := json.Marshal(flow)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seed(good())
	seed(voice.Flow{Start: "n9", Nodes: many(10)})
	seed(voice.Flow{Start: "a", Nodes: nodes{"a": {Kind: voice.NodePrompt, Sound: sound, Exits: exits{"done": "a"}}}})
	seed(voice.Flow{Start: "a", Nodes: nodes{"a": {Kind: voice.NodeMenu, Exits: exits{"timeout": "b", "invalid": "a", "1": "a"}}, "b": {Kind: voice.NodeHangUp}}})
	f.Fuzz(func(t *testing.T, document []byte) {
		var flow voice.Flow
		if json.Unmarshal(document, &flow) != nil {
			return
		}
		problems := flow.Check()
		for _, p := range problems {
			if _, known := flow.Nodes[p.Node]; p.Message == "" || p.Node != "" && !known {
				t.Fatalf("a problem is %+v", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		if _, there := flow.Nodes[flow.Start]; !there {
			t.Fatal("a good flow has no start")
		}
		for key := range flow.Nodes {
			if !ends(flow, key) {
				t.Fatalf("from %q nobody arrives", key)
			}
		}
	})
}
