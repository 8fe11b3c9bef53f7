package live

import (
	"slices"

	"tributary/desk"
	"tributary/ent"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// Sees says whether a viewer gets an event with a filter. It looks at nothing but the three: the audience was stored by
// the transaction that wrote the event. Visitors see no event here; they have frames of their own.
func Sees(v *viewer.Viewer, e *ent.Event, f desk.EventFilter) bool {
	if v == nil || v.Kind == viewer.KindCustomer || v.Workspace.IsZero() || v.Workspace != e.WorkspaceID {
		return false
	}
	if len(f.Types) > 0 && !slices.Contains(f.Types, desk.EventType(e.Type)) {
		return false
	}
	if len(e.HiddenFrom) > 0 && slices.ContainsFunc(v.Subjects(), func(id gid.ID) bool { return slices.Contains(e.HiddenFrom, id) }) {
		return false
	}
	mine, team := stands(v, e)
	if !mine && !sharedBy(v, e, team) {
		return false
	}
	scope := desk.ScopeMine
	if f.Scope != nil {
		scope = *f.Scope
	}
	switch scope {
	case desk.ScopeAll:
		return true
	case desk.ScopeTeams:
		return mine || team
	default:
		return mine
	}
}

// stands says how the viewer stands in the event's audience: himself, or by a team. What happens to himself (a break
// after misses, a changed role) is his own, too.
func stands(v *viewer.Viewer, e *ent.Event) (mine, team bool) {
	mine = e.SubjectID == v.Actor
	for _, id := range e.Audience {
		if id.IsZero() {
			continue
		}
		mine = mine || id == v.Actor
		team = team || slices.Contains(v.Teams, id)
	}
	return mine, team
}

// sharedBy says whether every viewer of the class may see the event, so that one encoding serves them all. What only
// some of a class see (an offer, the matter of another team that one of them owns) is encoded as its own viewer: the
// subject behind it may be hidden from the others, and would be null for all.
func sharedBy(v *viewer.Viewer, e *ent.Event, team bool) bool {
	byTeam := v.Reach == viewer.ReachTeams && team
	if e.Private {
		return byTeam
	}
	return byTeam || v.SeesAll() || len(e.Audience) == 0 && e.ConversationID == nil && v.Has(viewer.Self)
}

// owner names whose encoding of an event the viewer gets: the class's, or his own.
func owner(v *viewer.Viewer, e *ent.Event) gid.ID {
	if _, team := stands(v, e); sharedBy(v, e, team) {
		return gid.ID{}
	}
	return v.Actor
}

// visitorSees is the default of Config.VisitorSees.
func visitorSees(v *viewer.Viewer, e *ent.Event) bool {
	switch {
	case e.Private || v.Workspace != e.WorkspaceID:
		return false
	case e.IdentityID != nil:
		return *e.IdentityID == v.Identity
	default:
		return e.CustomerID != nil && *e.CustomerID == v.Actor
	}
}
