package desk

import (
	"context"
	"crypto/md5" //nolint:gosec // MD5 is what phones speak (RFC 3261 section 22.4); SHA-256 stands beside it
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	"tributary/channels/voice"
	"tributary/ent"
	"tributary/ent/agent"
	"tributary/ent/agentphone"
	"tributary/ent/phonecontact"
	"tributary/internal/clean"
	"tributary/internal/crypt"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// SIPAccount is the outcome of making an account or its password anew. Password is empty on a repeat: it is shown once.
type SIPAccount struct {
	Phone                         gid.ID
	Username, Password, Registrar string
}

const (
	maxPhones = 10 // of one agent
	// unambiguous are characters that people who type them into a phone do not take for others.
	unambiguous    = "23456789abcdefghjkmnpqrstuvwxyz"
	usernameSize   = 12
	passwordSize   = 20
	maxPhoneLabel  = 64
	maxUserAgent   = 200
	maxContactText = 2000
)

func randomText(size int) string {
	var b strings.Builder
	for range size {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(unambiguous))))
		if err != nil {
			panic(err) // documented never to happen
		}
		b.WriteByte(unambiguous[n.Int64()])
	}
	return b.String()
}

// AgentPhone by id.
func (d *Desk) AgentPhone(ctx context.Context, id gid.ID) (*ent.AgentPhoneQuery, error) {
	return d.db.AgentPhone.Query().Where(agentphone.ID(id)), need(ctx, viewer.Self)
}

// PhoneUsername is the user name of a phone for its agent and for who sets people up; nil for others.
func (d *Desk) PhoneUsername(ctx context.Context, p *ent.AgentPhone) *string {
	if v := viewer.From(ctx); v == nil || v.Actor != p.AgentID && !v.Has(viewer.PeopleWrite) {
		return nil
	}
	return &p.Username
}

// RegisteredPhones are the phones of the workspace that are registered now, with what each calls itself.
func (d *Desk) RegisteredPhones(ctx context.Context) (map[gid.ID]string, error) {
	return d.registered(ctx, nil)
}

// RegisteredPhone is what a phone calls itself while it is registered.
func (d *Desk) RegisteredPhone(ctx context.Context, id gid.ID) (userAgent string, registered bool, err error) {
	all, err := d.registered(ctx, &id)
	userAgent, registered = all[id]
	return userAgent, registered, err
}

func (d *Desk) registered(ctx context.Context, id *gid.ID) (map[gid.ID]string, error) {
	if err := need(ctx, viewer.Self); err != nil {
		return nil, err
	}
	q := d.db.PhoneContact.Query().Where(phonecontact.ExpiresAtGT(d.now()))
	if id != nil {
		q.Where(phonecontact.AgentPhoneID(*id))
	}
	rows, err := q.Select(phonecontact.FieldAgentPhoneID, phonecontact.FieldUserAgent).All(within(ctx))
	if err != nil {
		return nil, fmt.Errorf("read phones' registrations: %w", err)
	}
	out := make(map[gid.ID]string, len(rows))
	for _, r := range rows {
		out[r.AgentPhoneID] = r.UserAgent
	}
	return out, nil
}

func checkLabel(label string) (string, error) {
	if len([]rune(label)) > maxPhoneLabel {
		return "", refuse(TooLong, fmt.Sprintf("a label has at most %d characters", maxPhoneLabel), "label")
	}
	return checkName(label, "label")
}

// CreateSIPAccount makes an account for an agent's phone: the caller's own, or with PEOPLE_WRITE another's.
func (d *Desk) CreateSIPAccount(ctx context.Context, agentID *gid.ID, label string, key *string) (SIPAccount, error) {
	if err := need(ctx, viewer.Self); err != nil {
		return SIPAccount{}, err
	}
	who := viewer.From(ctx).Actor
	if agentID != nil && *agentID != who {
		if err := need(ctx, viewer.PeopleWrite); err != nil {
			return SIPAccount{}, err
		}
		who = *agentID
	}
	label, err := checkLabel(label)
	if err != nil {
		return SIPAccount{}, err
	}
	password := ""
	id, fresh, err := d.onceFresh(ctx, key, []any{"sipAccountCreate", who, label}, func(ctx context.Context, w *work) (gid.ID, error) {
		if err := w.phoneFor(ctx, who, "agentId"); err != nil {
			return gid.ID{}, err
		}
		have, err := w.tx.AgentPhone.Query().Where(agentphone.AgentID(who)).All(ctx)
		if err != nil {
			return gid.ID{}, fmt.Errorf("read phones: %w", err)
		}
		for _, p := range have {
			if p.Label == label {
				return gid.ID{}, refuse(Duplicate, "this agent has a phone of this name", "label")
			}
		}
		if len(have) >= maxPhones {
			return gid.ID{}, refuse(LimitReached, fmt.Sprintf("an agent has at most %d phones", maxPhones), "agentId")
		}
		var id gid.ID
		id, password, err = w.writePhone(ctx, who, label, len(have) == 0)
		return id, err
	})
	return d.account(ctx, id, password, fresh, err)
}

// account reads what was made, after its commit.
func (d *Desk) account(ctx context.Context, id gid.ID, password string, fresh bool, err error) (SIPAccount, error) {
	if err != nil {
		return SIPAccount{Phone: id}, err
	}
	p, err := d.db.AgentPhone.Get(within(ctx), id)
	if err != nil {
		return SIPAccount{}, fmt.Errorf("read phone: %w", err)
	}
	out := SIPAccount{Phone: id, Username: p.Username, Registrar: d.PhoneRegistrar}
	if fresh {
		out.Password = password
	}
	return out, nil
}

// phoneFor locks the agent, so that his phones are counted one after the other, and checks that the caller may give him
// one: whoever holds his phone takes his calls.
func (w *work) phoneFor(ctx context.Context, agentID gid.ID, field string) error {
	q := w.tx.Agent.Query().Where(agent.ID(agentID), agent.Active(true))
	if w.pg {
		q.ForUpdate()
	}
	a, err := q.Only(ctx)
	if ent.IsNotFound(err) {
		return notFound("agent", field)
	}
	if err != nil {
		return fmt.Errorf("lock agent: %w", err)
	}
	if agentID == viewer.From(ctx).Actor {
		return nil
	}
	return fieldTo(w.outranks(ctx, a), field)
}

func (w *work) writePhone(ctx context.Context, agentID gid.ID, label string, preferred bool) (gid.ID, string, error) {
	id, username, password := gid.Make(gid.AgentPhone), randomText(usernameSize), randomText(passwordSize)
	sealed, err := sealHA1(id, username, password)
	if err != nil {
		return gid.ID{}, "", err
	}
	err = w.tx.AgentPhone.Create().SetID(id).SetAgentID(agentID).SetLabel(label).SetUsername(username).SetHa1(sealed).SetPreferred(preferred).SetCreatedAt(w.at).Exec(ctx)
	if err != nil { // what broke a constraint, the next try finds and names
		return gid.ID{}, "", fmt.Errorf("write phone: %w", err)
	}
	return id, password, w.agentsChanged(ctx, []gid.ID{agentID}, "phones")
}

func ha1AD(id gid.ID) []byte { return []byte("agent_phone.ha1|" + id.UUID()) }

// sealHA1 keeps what a digest is checked with (RFC 3261 section 22.4, RFC 8760), never the password.
func sealHA1(id gid.ID, username, password string) ([]byte, error) {
	secret := []byte(username + ":" + voice.Realm + ":" + password)
	weak, strong := md5.Sum(secret), sha256.Sum256(secret) //nolint:gosec // as above
	plain, err := json.Marshal(map[string]string{"MD5": hex.EncodeToString(weak[:]), "SHA-256": hex.EncodeToString(strong[:])})
	if err != nil {
		return nil, fmt.Errorf("encode password's digests: %w", err)
	}
	sealed, err := crypt.Current().Seal(plain, ha1AD(id))
	if err != nil {
		return nil, fmt.Errorf("seal password's digests: %w", err)
	}
	return sealed, nil
}

// changePhone runs f on a phone that the caller may change: his own, or with PEOPLE_WRITE another's. Others are absent.
func (d *Desk) changePhone(ctx context.Context, id gid.ID, key *string, name string, f func(context.Context, *work, *ent.AgentPhone) error) (fresh bool, err error) {
	if err := need(ctx, viewer.Self); err != nil {
		return false, err
	}
	_, fresh, err = d.onceFresh(ctx, key, []any{name, id}, func(ctx context.Context, w *work) (gid.ID, error) {
		p, err := w.tx.AgentPhone.Get(ctx, id)
		v := viewer.From(ctx)
		if ent.IsNotFound(err) || err == nil && p.AgentID != v.Actor && !v.Has(viewer.PeopleWrite) {
			return gid.ID{}, notFound("phone", "id")
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("read phone: %w", err)
		}
		if err := w.phoneFor(ctx, p.AgentID, "id"); err != nil {
			return id, err
		}
		if err := f(ctx, w, p); err != nil {
			return id, err
		}
		return id, w.agentsChanged(ctx, []gid.ID{p.AgentID}, "phones")
	})
	return fresh, err
}

// RotateSIPAccount makes a new password; whoever has the old one is registered no more.
func (d *Desk) RotateSIPAccount(ctx context.Context, id gid.ID, key *string) (SIPAccount, error) {
	password := ""
	fresh, err := d.changePhone(ctx, id, key, "sipAccountRotate", func(ctx context.Context, w *work, p *ent.AgentPhone) error {
		password = randomText(passwordSize)
		sealed, err := sealHA1(id, p.Username, password)
		if err != nil {
			return err
		}
		if err := w.tx.AgentPhone.UpdateOneID(id).SetHa1(sealed).AddVersion(1).SetUpdatedAt(w.at).Exec(ctx); err != nil {
			return fmt.Errorf("save phone: %w", err)
		}
		return w.unregister(ctx, p)
	})
	if err != nil {
		return SIPAccount{Phone: phoneIf(err, id)}, err
	}
	return d.account(ctx, id, password, fresh, nil)
}

// phoneIf is the id that a refusal lets the caller read again: nothing of what is absent to him.
func phoneIf(err error, id gid.ID) gid.ID {
	if r, ok := RefusalOf(err); ok && r.Code != NotFound {
		return id
	}
	return gid.ID{}
}

// PreferPhone makes a phone the one that rings first.
func (d *Desk) PreferPhone(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	_, err := d.changePhone(ctx, id, key, "agentPhonePrefer", func(ctx context.Context, w *work, p *ent.AgentPhone) error {
		err := w.tx.AgentPhone.Update().Where(agentphone.AgentID(p.AgentID), agentphone.IDNEQ(id), agentphone.Preferred(true)).
			SetPreferred(false).AddVersion(1).SetUpdatedAt(w.at).Exec(ctx)
		if err != nil {
			return fmt.Errorf("save phones: %w", err)
		}
		if err := w.tx.AgentPhone.UpdateOneID(id).SetPreferred(true).AddVersion(1).SetUpdatedAt(w.at).Exec(ctx); err != nil {
			return fmt.Errorf("save phone: %w", err)
		}
		return nil
	})
	if err != nil {
		return phoneIf(err, id), err
	}
	return id, nil
}

// RemovePhone ends an account at once. Another phone of the agent becomes the preferred one.
func (d *Desk) RemovePhone(ctx context.Context, id gid.ID, key *string) (gid.ID, error) {
	_, err := d.changePhone(ctx, id, key, "agentPhoneRemove", func(ctx context.Context, w *work, p *ent.AgentPhone) error {
		if err := w.unregister(ctx, p); err != nil {
			return err
		}
		if err := w.tx.AgentPhone.DeleteOneID(id).Exec(ctx); err != nil {
			return fmt.Errorf("delete phone: %w", err)
		}
		if !p.Preferred {
			return nil
		}
		next, err := w.tx.AgentPhone.Query().Where(agentphone.AgentID(p.AgentID)).Order(ent.Asc(agentphone.FieldID)).FirstID(ctx)
		if ent.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read phones: %w", err)
		}
		if err := w.tx.AgentPhone.UpdateOneID(next).SetPreferred(true).AddVersion(1).SetUpdatedAt(w.at).Exec(ctx); err != nil {
			return fmt.Errorf("save phone: %w", err)
		}
		return nil
	})
	return id, err
}

// Phone implements voice.Desk. A switched-off agent has no phone.
func (v *Voice) Phone(ctx context.Context, username string) (voice.Phone, error) {
	d := v.d
	rows, err := d.db.AgentPhone.Query().Where(agentphone.Username(username), agentphone.HasAgentWith(agent.Active(true))).Limit(2).All(within(viewer.Global(ctx)))
	if err != nil {
		return voice.Phone{}, fmt.Errorf("read phone: %w", err)
	}
	if len(rows) != 1 {
		return voice.Phone{}, voice.ErrUnknown
	}
	p := rows[0]
	plain, err := crypt.Current().Unseal(p.Ha1, ha1AD(p.ID))
	if err != nil {
		return voice.Phone{}, fmt.Errorf("unseal digests of phone %s: %w", p.ID, err)
	}
	out := voice.Phone{ID: voice.ID(p.ID.String()), Agent: voice.ID(p.AgentID.String()), Username: p.Username}
	if err := json.Unmarshal(plain, &out.HA1); err != nil {
		return voice.Phone{}, fmt.Errorf("decode digests of phone %s: %w", p.ID, err)
	}
	return out, nil
}

// cleanContact is a registration as it is stored; what no phone needs is refused.
func cleanContact(r voice.Registration) (voice.Registration, error) {
	if len(r.Contact) > maxContactText || len(r.Source) > maxContactText || len(r.CallID) > maxContactText {
		return r, voice.ErrRefused
	}
	r.UserAgent = clean.Line(r.UserAgent, maxUserAgent)
	return r, nil
}
