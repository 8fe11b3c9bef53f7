package desk_test

import (
	"slices"
	"sync"
	"testing"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/role"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// joined are agents of a role who have a password, as an accepted invitation gives them.
func joined(t *testing.T, w *desktest.World, roleName string, names ...string) (out []*desktest.Agent) {
	t.Helper()
	for _, name := range names {
		a := w.Agent(name, roleName)
		ok(t, w.Store.Ent.Agent.UpdateOneID(a.ID).SetPasswordHash("hash").Exec(w.Sys))
		out = append(out, a)
	}
	return out
}

// Nobody locks everybody out: the last who may do something keeps it, whether he gives it up himself, another takes it,
// he is switched off, or his role is cut. Who never logged in does not count.
func TestTheLastHolderOfAScopeKeepsIt(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		all := joined(t, w, "admin", "Ann", "Bob")
		ann, bob := all[0], all[1]
		w.Agent("Eve", "admin") // has not joined
		demote := func(by *desktest.Agent, id gid.ID) error {
			_, err := w.Desk.UpdateAgent(by, id, desk.AgentUpdateInput{RoleID: ptr(w.Roles["agent"])}, nil, nil)
			return err
		}
		ok(t, demote(ann, bob.ID))
		w.Refused(demote(ann, ann.ID), desk.NotAllowed)
		_, err := w.Desk.UpdateAgent(ann, ann.ID, desk.AgentUpdateInput{Active: ptr(false)}, nil, nil)
		w.Refused(err, desk.NotAllowed)
		if a := w.Store.Ent.Agent.GetX(w.Sys, ann.ID); !a.Active || a.RoleID != w.Roles["admin"] {
			t.Errorf("a refused change stands: active %v, role %s", a.Active, a.RoleID)
		}
		_, err = w.Desk.UpdateAgent(w.Admin, ann.ID, desk.AgentUpdateInput{DisplayName: ptr("Anna")}, nil, nil)
		ok(t, err)

		admin := w.Store.Ent.Role.GetX(w.Sys, w.Roles["admin"])
		everything := admin.Scopes
		chief := w.Role("chief", role.ReachALL, everything...)
		ok(t, w.Store.Ent.Role.UpdateOneID(w.Roles[chief]).SetPersonalShown(admin.PersonalShown).Exec(w.Sys))
		cid := joined(t, w, chief, "Cid")[0]
		ok(t, demote(cid, ann.ID))
		cut := slices.DeleteFunc(slices.Clone(everything), func(s viewer.Scope) bool { return s == viewer.ChannelWrite })
		_, err = w.Desk.UpdateRole(cid, w.Roles[chief], desk.RoleUpdateInput{Scopes: &cut}, nil, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.UpdateRole(cid, w.Roles[chief], desk.RoleUpdateInput{Scopes: &everything}, nil, nil)
		ok(t, err)
	})
}

// Two admins who take each other's rights at once are not both heard.
func TestTwoAdminsDoNotDemoteEachOther(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		for range 10 {
			all := joined(t, w, "admin", w.Unique("Ann"), w.Unique("Bob"))
			var errs [2]error
			var both sync.WaitGroup
			for n := range all {
				both.Go(func() {
					_, errs[n] = w.Desk.UpdateAgent(all[n], all[1-n].ID, desk.AgentUpdateInput{RoleID: ptr(w.Roles["agent"])}, nil, nil)
				})
			}
			both.Wait()
			if (errs[0] == nil) == (errs[1] == nil) {
				t.Fatalf("%v and %v", errs[0], errs[1])
			}
			for n := range all { // nobody who can log in is left for the next round
				ok(t, w.Store.Ent.Agent.UpdateOneID(all[n].ID).ClearPasswordHash().Exec(w.Sys))
			}
		}
	})
}
