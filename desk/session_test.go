package desk_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"tributary/desk"
	"tributary/desk/desktest"
	"tributary/ent/apikey"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

const password = "correct horse battery"

// invited makes an agent with a password and returns his login.
func invited(t *testing.T, w *desktest.World, mail string) (gid.ID, desk.Login, string) {
	t.Helper()
	id, err := w.Desk.CreateAgent(w.Admin, desk.AgentCreateInput{DisplayName: "Ann", Email: mail, RoleID: w.Roles["agent"]}, nil)
	ok(t, err)
	_, secret, err := w.Desk.InviteAgent(w.Admin, id, nil)
	ok(t, err)
	l, err := w.Desk.AcceptInvitation(t.Context(), secret, password, "test", "192.0.2.1")
	ok(t, err)
	return id, l, secret
}

func stands(t *testing.T, w *desktest.World, token string) bool {
	t.Helper()
	_, err := w.Desk.Authenticate(t.Context(), token)
	if err != nil && !errors.Is(err, desk.ErrUnauthenticated) {
		t.Fatal(err)
	}
	return err == nil
}

func TestUnknownAndWrongLoginsLookTheSame(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		mail := w.Mail("ann")
		id, _, _ := invited(t, w, mail)
		login := func(mail, password string) error {
			_, err := w.Desk.CreateSession(t.Context(), desk.SessionInput{Email: mail, Password: password, Client: "test"}, "192.0.2.1")
			return err
		}
		ok(t, login(" "+mail+" ", password))
		unknown, wrong := w.Refused(login("nobody@example.com", password), desk.LoginFailed), w.Refused(login(mail, "wrong"), desk.LoginFailed)
		if unknown.Error() != wrong.Error() || len(unknown.Field) != len(wrong.Field) || unknown.Retryable != wrong.Retryable {
			t.Errorf("%v and %v differ", unknown, wrong)
		}
		_, err := w.Desk.UpdateAgent(w.Admin, id, desk.AgentUpdateInput{Active: ptr(false)}, nil, nil)
		ok(t, err)
		if off := w.Refused(login(mail, password), desk.LoginFailed); off.Error() != wrong.Error() {
			t.Errorf("%v for one who is switched off", off)
		}
	})
}

func TestLoginsAreLimitedPerAccountAndPerAddress(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		w.Desk.LoginsPerFiveMinutes = 3
		try := func(mail, remote string) error {
			_, err := w.Desk.CreateSession(t.Context(), desk.SessionInput{Email: mail, Password: "wrong"}, remote)
			return err
		}
		for range 3 {
			w.Refused(try("a@example.com", "192.0.2.1"), desk.LoginFailed)
		}
		if r := w.Refused(try("b@example.com", "192.0.2.1"), desk.LimitReached); !r.Retryable {
			t.Error("later it may work")
		}
		w.Refused(try("a@example.com", "192.0.2.2"), desk.LimitReached)
		w.Refused(try("c@example.com", "192.0.2.3"), desk.LoginFailed)
		w.Clock.Add(6 * time.Minute)
		w.Refused(try("a@example.com", "192.0.2.1"), desk.LoginFailed)
	})
}

func TestRefreshRotatesAndAReusedTokenEndsTheFamily(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		_, first, _ := invited(t, w, w.Mail("ann"))
		second, err := w.Desk.RefreshSession(t.Context(), first.Refresh)
		ok(t, err)
		if second.Refresh == first.Refresh || second.Session != first.Session || !stands(t, w, second.Access) || !stands(t, w, first.Access) {
			t.Fatal("a refresh gives the next pair of the same session")
		}
		_, err = w.Desk.RefreshSession(t.Context(), first.Refresh)
		w.Refused(err, desk.LoginFailed)
		_, err = w.Desk.RefreshSession(t.Context(), second.Refresh)
		w.Refused(err, desk.LoginFailed)
		if stands(t, w, second.Access) {
			t.Error("the family is revoked with its access tokens")
		}
		_, err = w.Desk.RefreshSession(t.Context(), "nonsense")
		w.Refused(err, desk.LoginFailed)
	})
}

func TestTokensEndByTheirTime(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		_, l, _ := invited(t, w, w.Mail("ann"))
		w.Clock.Add(11 * time.Minute)
		if stands(t, w, l.Access) {
			t.Error("an access token lives for ten minutes")
		}
		l, err := w.Desk.RefreshSession(t.Context(), l.Refresh)
		ok(t, err)
		w.Clock.Add(31 * 24 * time.Hour)
		_, err = w.Desk.RefreshSession(t.Context(), l.Refresh)
		w.Refused(err, desk.LoginFailed)
	})
}

func TestAnInvitationWorksOnceAndTheNewestAlone(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		id, _, used := invited(t, w, w.Mail("ann"))
		accept := func(secret string) error {
			_, err := w.Desk.AcceptInvitation(t.Context(), secret, password, "test", "192.0.2.1")
			return err
		}
		w.Refused(accept(used), desk.LoginFailed)
		_, old, err := w.Desk.InviteAgent(w.Admin, id, nil)
		ok(t, err)
		_, newest, err := w.Desk.InviteAgent(w.Admin, id, nil)
		ok(t, err)
		w.Refused(accept(old), desk.LoginFailed)
		_, err = w.Desk.AcceptInvitation(t.Context(), newest, "short", "test", "192.0.2.1")
		w.Refused(err, desk.Invalid)
		w.Clock.Add(8 * 24 * time.Hour)
		w.Refused(accept(newest), desk.LoginFailed)
	})
}

func TestAnEndedSessionIsRefusedAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		_, l, _ := invited(t, w, w.Mail("ann"))
		v, err := w.Desk.Authenticate(t.Context(), l.Access)
		ok(t, err)
		_, err = w.Desk.EndSession(viewer.With(t.Context(), v), nil, nil)
		ok(t, err)
		if stands(t, w, l.Access) {
			t.Error("an ended session stands")
		}
		_, err = w.Desk.RefreshSession(t.Context(), l.Refresh)
		w.Refused(err, desk.LoginFailed)
	})
}

// keyed makes a key of an app and returns its secret.
func keyed(t *testing.T, w *desktest.World, in desk.APIKeyInput) (gid.ID, string, error) {
	t.Helper()
	app, err := w.Desk.CreateApp(w.Admin, desk.AppCreateInput{DisplayName: "App", Scopes: []viewer.Scope{
		viewer.ConversationRead, viewer.ConversationWrite, viewer.CustomerRead, viewer.Supervise,
	}}, nil)
	ok(t, err)
	in.AppID = app
	return w.Desk.CreateAPIKey(w.Admin, in, nil)
}

func TestAKeyEndsByRevocationAndByItsTime(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		id, secret, err := keyed(t, w, desk.APIKeyInput{Kind: apikey.KindAPP, Scopes: []viewer.Scope{viewer.ConversationRead}})
		ok(t, err)
		if !stands(t, w, secret) {
			t.Fatal("a key proves its app")
		}
		_, err = w.Desk.RevokeAPIKey(w.Admin, id, nil)
		ok(t, err)
		if stands(t, w, secret) {
			t.Error("a revoked key stands")
		}
		until := w.Clock.Now().Add(time.Hour)
		_, secret, err = keyed(t, w, desk.APIKeyInput{Kind: apikey.KindAPP, ExpiresAt: &until})
		ok(t, err)
		w.Clock.Add(59 * time.Minute)
		if !stands(t, w, secret) {
			t.Error("a key ended before its time")
		}
		w.Clock.Add(2 * time.Minute)
		if stands(t, w, secret) {
			t.Error("a key outlived its time")
		}
	})
}

func TestAKeyHoldsNoMoreThanItsAppAndABIKeyOnlyReads(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		_, _, err := keyed(t, w, desk.APIKeyInput{Kind: apikey.KindAPP, Scopes: []viewer.Scope{viewer.PeopleWrite}})
		w.Refused(err, desk.NotAllowed)
		_, _, err = keyed(t, w, desk.APIKeyInput{Kind: apikey.KindBI, Scopes: []viewer.Scope{viewer.ConversationWrite}})
		w.Refused(err, desk.NotAllowed)
		_, secret, err := keyed(t, w, desk.APIKeyInput{Kind: apikey.KindBI, Scopes: []viewer.Scope{viewer.ConversationRead}})
		ok(t, err)
		v, err := w.Desk.Authenticate(t.Context(), secret)
		ok(t, err)
		if v.Kind != viewer.KindBI || v.Has(viewer.ConversationWrite) {
			t.Errorf("%s with %v", v.Kind, v.Scopes)
		}
		_, err = w.Desk.Claim(viewer.With(t.Context(), v), gid.Make(gid.Interaction), nil)
		var f *desk.Forbidden
		if !errors.As(err, &f) {
			t.Errorf("a BI key claims: %v", err)
		}
		_, err = w.Desk.CreateApp(w.Admin, desk.AppCreateInput{DisplayName: "App", Scopes: []viewer.Scope{viewer.SystemAdmin}}, nil)
		w.Refused(err, desk.NotAllowed)
		_, err = w.Desk.CreateApp(w.Admin, desk.AppCreateInput{DisplayName: "App", Scopes: []viewer.Scope{viewer.Visitor}}, nil)
		w.Refused(err, desk.NotAllowed)
	})
}

// Nobody gives what he does not hold, also not by way of an app that somebody else made.
func TestNobodyMakesAKeyWithARightThatHeLacks(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		app, err := w.Desk.CreateApp(w.Admin, desk.AppCreateInput{DisplayName: "App", Scopes: []viewer.Scope{viewer.Supervise}}, nil)
		ok(t, err)
		lesser := w.Agent("Dev", w.Role("dev", "OWN", viewer.APIWrite))
		_, _, err = w.Desk.CreateAPIKey(lesser, desk.APIKeyInput{AppID: app, Kind: apikey.KindAPP, Scopes: []viewer.Scope{viewer.Supervise}}, nil)
		w.Refused(err, desk.NotAllowed)
	})
}

func TestAnAppKeySendsWithAnIdempotencyKeyOnly(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		i := w.Serve(w.Bridge(nil).Say("t1", "u1", "hello"), w.Agent("Ann", "admin"))
		_, secret, err := keyed(t, w, desk.APIKeyInput{Kind: apikey.KindAPP, Scopes: []viewer.Scope{viewer.ConversationRead, viewer.ConversationWrite}})
		ok(t, err)
		v, err := w.Desk.Authenticate(t.Context(), secret)
		ok(t, err)
		app := viewer.With(t.Context(), v)
		say := func(ctx context.Context, key *string) error {
			_, err := w.Desk.SendMessage(ctx, i.ID, desk.MessageInput{Text: ptr("hi")}, key)
			return err
		}
		w.Refused(say(app, nil), desk.Required)
		ok(t, say(app, ptr("key")))
		_, err = w.Desk.Claim(app, i.ID, nil)
		w.Refused(err, desk.NotAllowed)
	})
}

func TestTheOperatorOpensNoWorkspace(t *testing.T) {
	each(t, func(t *testing.T, w *desktest.World) {
		w.Bridge(nil).Say("t1", "u1", "hello")
		operator := viewer.With(t.Context(), &viewer.Viewer{Kind: viewer.KindSystem, Scopes: []viewer.Scope{viewer.SystemAdmin}})
		if n, err := w.Store.Ent.Conversation.Query().Count(operator); err == nil && n != 0 {
			t.Errorf("the operator reads %d conversations", n)
		}
		_, err := w.Desk.CreateWorkspace(w.Admin, desk.WorkspaceInput{Name: "x", AdminName: "x", AdminEmail: "x@example.com"}, nil)
		var f *desk.Forbidden
		if !errors.As(err, &f) {
			t.Errorf("an admin makes a workspace: %v", err)
		}
	})
}
