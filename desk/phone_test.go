package desk_test

import (
	"crypto/md5" //nolint:gosec // what phones speak
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"tributary/channels/voice"
	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/role"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

func account(t *testing.T, w *desktest.World, a *desktest.Agent, label string) desk.SIPAccount {
	t.Helper()
	got, err := w.Desk.CreateSIPAccount(a, nil, label, nil)
	ok(t, err)
	return got
}

// digests are H(A1) as RFC 3261 section 22.4 and RFC 8760 write it, by another hand than the desk's.
func digests(user, password string) map[string]string {
	m, s := md5.Sum([]byte(user+":tributary:"+password)), sha256.Sum256([]byte(user+":tributary:"+password)) //nolint:gosec // as above
	return map[string]string{"MD5": hex.EncodeToString(m[:]), "SHA-256": hex.EncodeToString(s[:])}
}

func sameDigests(p voice.Phone, password string) bool {
	want := digests(p.Username, password)
	return len(p.HA1) == 2 && p.HA1["MD5"] == want["MD5"] && p.HA1["SHA-256"] == want["SHA-256"]
}

// TestAPhoneIsFoundByItsUserName with what its digests are checked with; the password stands nowhere and is shown once.
func TestAPhoneIsFoundByItsUserName(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		key := "k"
		got, err := w.Desk.CreateSIPAccount(ann, nil, "desk", &key)
		ok(t, err)
		if len(got.Password) != 20 || strings.ContainsAny(got.Password, "0O1lIo") || got.Username == "" {
			t.Errorf("the account is %+v", got)
		}
		p, err := w.Desk.Voice().Phone(t.Context(), got.Username)
		ok(t, err)
		if p.ID != asVoice(got.Phone) || p.Agent != asVoice(ann.ID) || !sameDigests(p, got.Password) {
			t.Errorf("the phone is %+v", p)
		}
		again, err := w.Desk.CreateSIPAccount(ann, nil, "desk", &key)
		ok(t, err)
		if again.Phone != got.Phone || again.Password != "" || again.Username != got.Username {
			t.Errorf("a repeat gives %+v", again)
		}
		row, err := w.Store.Ent.AgentPhone.Get(w.Sys, got.Phone)
		ok(t, err)
		if stored := string(row.Ha1); strings.Contains(stored, p.HA1["MD5"]) || strings.Contains(stored, got.Password) {
			t.Error("the digests stand in the clear")
		}
		for _, other := range []string{"", "nobody", strings.ToUpper(got.Username)} {
			if _, err := w.Desk.Voice().Phone(t.Context(), other); !errors.Is(err, voice.ErrUnknown) {
				t.Errorf("%q is answered by %v", other, err)
			}
		}
		_, err = w.Desk.UpdateAgent(w.Admin, ann.ID, desk.AgentUpdateInput{Active: ptr(false)}, nil, nil)
		ok(t, err)
		if _, err := w.Desk.Voice().Phone(t.Context(), got.Username); !errors.Is(err, voice.ErrUnknown) {
			t.Errorf("a switched-off agent's phone is answered by %v", err)
		}
	})
}

// TestWhoMayChangeAPhone: its agent, and who sets people up, but for whoever may do more than he may.
func TestWhoMayChangeAPhone(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann, ben := w.Agent("Ann", "agent"), w.Agent("Ben", "agent")
		clerk := w.Agent("Clerk", w.Role("clerk", role.ReachALL, viewer.PeopleWrite))
		of := account(t, w, ann, "desk")
		_, err := w.Desk.CreateSIPAccount(ben, &ann.ID, "mine", nil)
		if f := new(desk.Forbidden); !errors.As(err, &f) || f.Scope != viewer.PeopleWrite {
			t.Errorf("a colleague's account is answered by %v", err)
		}
		for name, change := range map[string]func(*desktest.Agent) error{
			"rotate": func(a *desktest.Agent) error { _, err := w.Desk.RotateSIPAccount(a, of.Phone, nil); return err },
			"prefer": func(a *desktest.Agent) error { _, err := w.Desk.PreferPhone(a, of.Phone, nil); return err },
			"remove": func(a *desktest.Agent) error { _, err := w.Desk.RemovePhone(a, of.Phone, nil); return err },
		} {
			for _, stranger := range []*desktest.Agent{ben, w.Another().Admin} {
				if r := w.Refused(change(stranger), desk.NotFound); len(r.Field) == 0 || r.Field[0] != "id" {
					t.Errorf("%s is refused about %v", name, r.Field)
				}
			}
			w.Refused(change(clerk), desk.NotAllowed)
		}
		_, err = w.Desk.CreateSIPAccount(clerk, &ann.ID, "mine", nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.CreateSIPAccount(w.Admin, &ann.ID, "home", nil)
		ok(t, err)
		_, err = w.Desk.CreateSIPAccount(w.Another().Admin, &ann.ID, "theirs", nil)
		w.Refused(err, desk.NotFound)
		_, err = w.Desk.RotateSIPAccount(w.Admin, of.Phone, nil)
		ok(t, err)
		row, err := w.Store.Ent.AgentPhone.Get(w.Sys, of.Phone)
		ok(t, err)
		if w.Desk.PhoneUsername(ben, row) != nil || w.Desk.PhoneUsername(ann, row) == nil || w.Desk.PhoneUsername(clerk, row) == nil {
			t.Error("the user name is shown to the wrong people")
		}
	})
}

// TestPhonesOfAnAgent: named apart, bounded, one of them preferred.
func TestPhonesOfAnAgent(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		first, second := account(t, w, ann, "desk"), account(t, w, ann, "home")
		_, err := w.Desk.CreateSIPAccount(ann, nil, "home", nil)
		w.Refused(err, desk.Duplicate)
		_, err = w.Desk.CreateSIPAccount(ann, nil, " ", nil)
		w.Refused(err, desk.Required)
		_, err = w.Desk.CreateSIPAccount(ann, nil, strings.Repeat("x", 65), nil)
		w.Refused(err, desk.TooLong)
		preferred := func(want gid.ID) {
			t.Helper()
			rows, err := w.Store.Ent.AgentPhone.Query().All(w.Sys)
			ok(t, err)
			for _, p := range rows {
				if p.Preferred != (p.ID == want) {
					t.Errorf("%s is preferred: %v", p.Label, p.Preferred)
				}
			}
		}
		preferred(first.Phone)
		_, err = w.Desk.PreferPhone(ann, second.Phone, nil)
		ok(t, err)
		preferred(second.Phone)
		_, err = w.Desk.RemovePhone(ann, second.Phone, nil)
		ok(t, err)
		preferred(first.Phone)
		for n := range 9 {
			account(t, w, ann, strings.Repeat("x", n+1))
		}
		_, err = w.Desk.CreateSIPAccount(ann, nil, "one more", nil)
		w.Refused(err, desk.LimitReached)
	})
}

// TestANewPasswordEndsTheOldOne at once: whoever is registered by it is reached no more.
func TestANewPasswordEndsTheOldOne(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		ann := w.Agent("Ann", "agent")
		old := account(t, w, ann, "desk")
		register(t, w, old, 1, hour)
		key := "k"
		newer, err := w.Desk.RotateSIPAccount(ann, old.Phone, &key)
		ok(t, err)
		p, err := w.Desk.Voice().Phone(t.Context(), old.Username)
		ok(t, err)
		if newer.Password == "" || newer.Username != old.Username || sameDigests(p, old.Password) || !sameDigests(p, newer.Password) {
			t.Errorf("the new account is %+v", newer)
		}
		if _, there, err := w.Desk.RegisteredPhone(ann, old.Phone); err != nil || there {
			t.Errorf("it is still registered: %v, %v", there, err)
		}
		again, err := w.Desk.RotateSIPAccount(ann, old.Phone, &key)
		ok(t, err)
		if again.Password != "" {
			t.Error("a repeat shows the password")
		}
		if p, err = w.Desk.Voice().Phone(t.Context(), old.Username); err != nil || !sameDigests(p, newer.Password) {
			t.Error("a repeat changed the password")
		}
	})
}
