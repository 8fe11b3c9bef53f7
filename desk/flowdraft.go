package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/flowversion"
	"tributary/ent/prompt"
	"tributary/ent/queue"
	"tributary/internal/clean"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

const (
	maxNodeTitle   = 200
	maxFlowComment = 1000
	maxFlowExits   = 32 // more than a phone has keys
)

var nodeKeyShape = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// SaveDraft makes a draft the flow's newest version. It takes the place of the draft before, and may have problems; what
// could not be stored or shown again is refused.
func (d *Desk) SaveDraft(ctx context.Context, flowID gid.ID, in FlowDraftInput, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.RoutingWrite); err != nil {
		return gid.ID{}, err
	}
	doc, err := document(in)
	if err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{"flowDraftSave", flowID, in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		f, err := w.lockFlow(ctx, flowID, "flowId")
		if err != nil {
			return gid.ID{}, err
		}
		if err := fits(f.Version, ifVersion); err != nil {
			return flowID, err
		}
		doc := doc
		doc.ID, doc.Version = voice.ID(f.ID.String()), f.LastNumber+1
		raw, err := json.Marshal(doc)
		if err != nil {
			return gid.ID{}, fmt.Errorf("encode flow: %w", err)
		}
		row := w.tx.FlowVersion.Create().SetFlowID(flowID).SetNumber(doc.Version).SetDocument(raw).SetNillableComment(line(in.Comment)).SetCreatedAt(w.at)
		if v := viewer.From(ctx); v.Kind == viewer.KindAgent {
			row.SetAuthorID(v.Actor)
		}
		v, err := row.Save(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("write version: %w", err)
		}
		if err := w.changeFlow(ctx, f, func(u *ent.FlowUpdateOne) { u.SetDraftID(v.ID).SetLastNumber(v.Number) }); err != nil {
			return flowID, err
		}
		if f.DraftID != nil {
			if _, err := w.tx.FlowVersion.Delete().Where(flowversion.ID(*f.DraftID), flowversion.PublishedAtIsNil()).Exec(ctx); err != nil {
				return gid.ID{}, fmt.Errorf("delete the draft before: %w", err)
			}
		}
		return flowID, nil
	})
}

// document is a draft in the form that is stored.
func document(in FlowDraftInput) (voice.Flow, error) {
	out := voice.Flow{Start: in.StartKey, Nodes: make(map[string]voice.Node, len(in.Nodes))}
	switch {
	case len(in.Nodes) > voice.MaxNodes:
		return out, refuse(LimitReached, fmt.Sprintf("a flow has at most %d nodes", voice.MaxNodes), "input", "nodes")
	case len(in.StartKey) > 64:
		return out, refuse(TooLong, "a key has at most 64 characters", "input", "startKey")
	case in.Comment != nil && len([]rune(*in.Comment)) > maxFlowComment:
		return out, refuse(TooLong, fmt.Sprintf("a comment has at most %d characters", maxFlowComment), "input", "comment")
	}
	for i, n := range in.Nodes {
		at := []string{"input", "nodes", strconv.Itoa(i)}
		if !nodeKeyShape.MatchString(n.Key) {
			return out, refuse(Invalid, "a key is 1 to 64 letters, digits, _ or -", append(at, "key")...)
		}
		if _, twice := out.Nodes[n.Key]; twice {
			return out, refuse(Invalid, "this key stands twice", append(at, "key")...)
		}
		node, err := storedNode(n, at)
		if err != nil {
			return out, err
		}
		out.Nodes[n.Key] = node
	}
	return out, nil
}

func storedNode(n FlowNodeInput, at []string) (voice.Node, error) {
	out := voice.Node{Kind: nodeKinds[n.Kind], TimeoutSeconds: deref(n.TimeoutSeconds, 0), Tries: deref(n.Tries, 0)}
	field := func(name string) []string { return append(slices.Clone(at), name) }
	if n.Title != nil {
		if len([]rune(*n.Title)) > maxNodeTitle {
			return out, refuse(TooLong, fmt.Sprintf("a title has at most %d characters", maxNodeTitle), field("title")...)
		}
		out.Title = clean.Line(*n.Title, maxNodeTitle)
	}
	switch {
	case n.PromptID != nil && n.Sound != nil:
		return out, refuse(Invalid, "a node plays a prompt or a built-in sound", field("sound")...)
	case n.PromptID != nil && n.PromptID.Kind() != gid.Prompt:
		return out, notFound("prompt", field("promptId")...)
	case n.PromptID != nil:
		out.Sound = &voice.Sound{Name: n.PromptID.String()}
	case n.Sound != nil:
		out.Sound = &voice.Sound{Name: builtIn[*n.Sound]}
	}
	if n.QueueID != nil {
		if n.QueueID.Kind() != gid.Queue {
			return out, notFound("queue", field("queueId")...)
		}
		out.Queue = voice.ID(n.QueueID.String())
	}
	var err error
	out.Exits, err = storedExits(n.Exits, field("exits"))
	return out, err
}

func storedExits(list []FlowExitInput, at []string) (map[string]string, error) {
	if len(list) > maxFlowExits {
		return nil, refuse(LimitReached, fmt.Sprintf("a node has at most %d exits", maxFlowExits), at...)
	}
	var out map[string]string
	for i, e := range list {
		if len(e.On) > 64 || len(e.To) > 64 {
			return nil, refuse(TooLong, "an exit and a key have at most 64 characters", append(slices.Clone(at), strconv.Itoa(i))...)
		}
		if _, twice := out[e.On]; twice {
			return nil, refuse(Invalid, "this exit stands twice", append(slices.Clone(at), strconv.Itoa(i), "on")...)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[e.On] = e.To
	}
	return out, nil
}

// FlowTargets are the queues and prompts of a workspace that flows can name.
type FlowTargets map[string]bool

// FlowTargets reads them for the viewer's workspace: one for all versions that are shown.
func (d *Desk) FlowTargets(ctx context.Context) (FlowTargets, error) {
	if err := need(ctx, viewer.RoutingRead); err != nil {
		return nil, err
	}
	return targets(within(ctx), d.db, nil, nil)
}

// targets are those that are there, of all or of the named ones.
func targets(ctx context.Context, db *ent.Client, queues, prompts []gid.ID) (FlowTargets, error) {
	q, p := db.Queue.Query(), db.Prompt.Query()
	if queues != nil {
		q.Where(queue.IDIn(queues...))
	}
	if prompts != nil {
		p.Where(prompt.IDIn(prompts...))
	}
	qs, err := q.IDs(ctx)
	if err != nil {
		return nil, fmt.Errorf("read queues: %w", err)
	}
	ps, err := p.IDs(ctx)
	if err != nil {
		return nil, fmt.Errorf("read prompts: %w", err)
	}
	out := FlowTargets{}
	for _, id := range append(qs, ps...) {
		out[id.String()] = true
	}
	return out, nil
}

// FlowProblems are what keeps a version from being published, by key.
func FlowProblems(v *ent.FlowVersion, there FlowTargets) ([]*FlowProblem, error) {
	f, err := documentOf(v)
	if err != nil {
		return nil, err
	}
	out := []*FlowProblem{}
	for _, p := range problemsOf(f, there) {
		out = append(out, &FlowProblem{NodeKey: some(p.Node), Message: p.Message})
	}
	return out, nil
}

// problemsOf adds to what voice finds what only the desk knows: queues and prompts that are not there.
func problemsOf(f voice.Flow, there FlowTargets) []voice.Problem {
	out := f.Check()
	for _, key := range slices.Sorted(maps.Keys(f.Nodes)) {
		n := f.Nodes[key]
		if n.Queue != "" && !there[string(n.Queue)] {
			out = append(out, voice.Problem{Node: key, Message: "the queue is not there"})
		}
		if n.Sound == nil {
			continue
		}
		if _, ours := keyFor(builtIn, n.Sound.Name); !ours && !there[n.Sound.Name] {
			out = append(out, voice.Problem{Node: key, Message: "the prompt is not there"})
		}
	}
	slices.SortStableFunc(out, func(a, b voice.Problem) int {
		switch {
		case a.Node < b.Node:
			return -1
		case a.Node > b.Node:
			return 1
		}
		return 0
	})
	return out
}

// PublishFlow makes a draft what the next calls go by.
func (d *Desk) PublishFlow(ctx context.Context, versionID gid.ID, key *string) (gid.ID, error) {
	return d.publish(ctx, versionID, key, "flowPublish", func(v *ent.FlowVersion, _ *ent.Flow) error {
		if v.PublishedAt != nil {
			return refuse(WrongState, "it was published before: flowRollback brings it back", "versionId")
		}
		return nil
	})
}

// RollbackFlow brings back a version that was published before; the draft stays.
func (d *Desk) RollbackFlow(ctx context.Context, versionID gid.ID, key *string) (gid.ID, error) {
	return d.publish(ctx, versionID, key, "flowRollback", func(v *ent.FlowVersion, f *ent.Flow) error {
		switch {
		case v.PublishedAt == nil:
			return refuse(WrongState, "it was never published: flowPublish does that", "versionId")
		case f.PublishedID != nil && *f.PublishedID == v.ID:
			return refuse(WrongState, "calls go by it already", "versionId")
		}
		return nil
	})
}

func (d *Desk) publish(ctx context.Context, versionID gid.ID, key *string, name string, may func(*ent.FlowVersion, *ent.Flow) error) (gid.ID, error) {
	if err := need(ctx, viewer.RoutingWrite); err != nil {
		return gid.ID{}, err
	}
	return d.once(ctx, key, []any{name, versionID}, func(ctx context.Context, w *work) (gid.ID, error) {
		v, err := w.tx.FlowVersion.Get(ctx, versionID)
		if ent.IsNotFound(err) {
			return gid.ID{}, notFound("version", "versionId")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read version: %w", err)
		}
		f, err := w.lockFlow(ctx, v.FlowID, "versionId")
		if err != nil {
			return gid.ID{}, err
		}
		// Before the lock the version may have been replaced or published.
		if v, err = w.tx.FlowVersion.Get(ctx, versionID); ent.IsNotFound(err) {
			return f.ID, notFound("version", "versionId")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read version: %w", err)
		}
		if err := firstError(may(v, f), w.runnable(ctx, v)); err != nil {
			return f.ID, err
		}
		if v.PublishedAt == nil {
			if err := w.tx.FlowVersion.UpdateOneID(versionID).SetPublishedAt(w.at).Exec(ctx); err != nil {
				return gid.ID{}, fmt.Errorf("save version: %w", err)
			}
		}
		return f.ID, w.changeFlow(ctx, f, func(u *ent.FlowUpdateOne) {
			u.SetPublishedID(versionID)
			if f.DraftID != nil && *f.DraftID == versionID {
				u.ClearDraftID()
			}
		})
	})
}

// runnable refuses a version with problems. What it names is locked, so that nobody deletes it meanwhile.
func (w *work) runnable(ctx context.Context, v *ent.FlowVersion) error {
	doc, err := documentOf(v)
	if err != nil {
		return err
	}
	queues, prompts := namedBy(doc)
	if w.pg {
		if _, err := w.tx.Queue.Query().Where(queue.IDIn(queues...)).Order(ent.Asc(queue.FieldID)).ForUpdate().IDs(ctx); err != nil {
			return fmt.Errorf("lock queues: %w", err)
		}
		if _, err := w.tx.Prompt.Query().Where(prompt.IDIn(prompts...)).Order(ent.Asc(prompt.FieldID)).ForUpdate().IDs(ctx); err != nil {
			return fmt.Errorf("lock prompts: %w", err)
		}
	}
	there, err := targets(ctx, w.tx.Client(), queues, prompts)
	if err != nil {
		return err
	}
	problems := problemsOf(doc, there)
	if len(problems) == 0 {
		return nil
	}
	field := []string{"versionId"}
	if problems[0].Node != "" {
		field = append(field, "nodes", problems[0].Node)
	}
	return refuse(Invalid, problems[0].Message, field...)
}

// namedBy are the queues and prompts that a flow names, each once, in order.
func namedBy(f voice.Flow) (queues, prompts []gid.ID) {
	queues, prompts = []gid.ID{}, []gid.ID{}
	for _, n := range f.Nodes {
		if id := someID(string(n.Queue)); id != nil {
			queues = append(queues, *id)
		}
		if n.Sound == nil {
			continue
		}
		if id := someID(n.Sound.Name); id != nil {
			prompts = append(prompts, *id)
		}
	}
	return unique(queues), unique(prompts)
}
