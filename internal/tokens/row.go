package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"tributary/channels"
	"tributary/ent"
	"tributary/ent/providertoken"
	"tributary/internal/crypt"
	"tributary/internal/store"
	"tributary/internal/viewer"
)

// secrets are what is sealed of a token.
type secrets struct {
	Value   string `json:"value"`
	Refresh string `json:"refresh,omitempty"`
}

// ad binds a sealed token to its place: it opens in no other row and under no other version.
func ad(k key, version int64) []byte {
	return fmt.Appendf(nil, "provider_token|%q|%q|%d", k.provider, k.credential, version)
}

// read is what the row says; the zero token: there is none.
func (t *Tokens) read(ctx context.Context, k key) (channels.Token, error) {
	ctx = viewer.Global(ctx) // a row belongs to no workspace, and a kind need not say for whom it asks
	row, err := t.store.Ent.ProviderToken.Query().Where(providertoken.Provider(k.provider), providertoken.Credential(k.credential)).Only(ctx)
	if ent.IsNotFound(err) {
		return channels.Token{}, nil
	}
	if err != nil {
		return channels.Token{}, fmt.Errorf("read the token of %s: %w", k.provider, err)
	}
	text, err := crypt.Current().Unseal(row.Sealed, ad(k, row.Version))
	if err != nil {
		return channels.Token{}, fmt.Errorf("open the token of %s: %w", k.provider, err)
	}
	var s secrets
	if json.Unmarshal(text, &s) != nil { // its own text could quote the token
		return channels.Token{}, fmt.Errorf("open the token of %s: it has another form", k.provider)
	}
	out := channels.Token{Value: s.Value, Refresh: s.Refresh, Version: row.Version}
	if row.ExpiresAt != nil {
		out.ExpiresAt = row.ExpiresAt.UTC()
	}
	return out, nil
}

// write stores a token where the row still has the version base, 0 for none; else it reports false.
func (t *Tokens) write(ctx context.Context, k key, base int64, fresh channels.Token) (bool, error) {
	ctx = viewer.Global(ctx)
	text, err := json.Marshal(secrets{fresh.Value, fresh.Refresh})
	if err != nil {
		return false, errors.New("a token cannot be written down") // its own text could quote the token
	}
	sealed, err := crypt.Current().Seal(text, ad(k, fresh.Version))
	if err != nil {
		return false, err
	}
	var until *time.Time
	if !fresh.ExpiresAt.IsZero() {
		until = &fresh.ExpiresAt
	}
	if base == 0 {
		err := t.store.Ent.ProviderToken.Create().SetProvider(k.provider).SetCredential(k.credential).SetSealed(sealed).SetVersion(fresh.Version).SetNillableExpiresAt(until).Exec(ctx)
		if store.Unique(err) {
			return false, nil
		}
		return err == nil, err
	}
	u := t.store.Ent.ProviderToken.Update().Where(providertoken.Provider(k.provider), providertoken.Credential(k.credential), providertoken.Version(base)).
		SetSealed(sealed).SetVersion(fresh.Version).SetNillableExpiresAt(until)
	if until == nil {
		u.ClearExpiresAt()
	}
	n, err := u.Save(ctx)
	return n > 0, err
}

// save stores a token that a provider gave in place of the version base, in several attempts, and returns what the row
// holds then: this token, or a newer one that was written meanwhile. What cannot be saved is kept for rescue.
func (t *Tokens) save(ctx context.Context, k key, base int64, fresh channels.Token) (channels.Token, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveFor)
	defer cancel()
	pause := t.savePause
	for try := 1; ; try++ {
		seen := t.Now()
		done, err := t.write(ctx, k, base, fresh)
		if done {
			t.cache.put(k, fresh, seen)
			return fresh, nil
		}
		var row channels.Token
		if err == nil { // another was faster, or an attempt of ours arrived whose answer was lost
			row, err = t.look(ctx, k)
		}
		if err == nil {
			if row.Version >= fresh.Version {
				return row, nil
			}
			base, err = row.Version, errors.New("the row has changed")
		}
		t.Log.WarnContext(ctx, "save a provider's token", "provider", k.provider, "try", try, "error", err)
		if try == saveTries {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.unsaved[k] = fresh
			return channels.Token{}, fmt.Errorf("save the token of %s: %w", k.provider, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause *= 2
		}
	}
}

// rescue saves what an earlier refresh could not, unless the row has gone beyond it, and returns what the row holds then.
func (t *Tokens) rescue(ctx context.Context, k key, row channels.Token) (channels.Token, error) {
	t.mu.Lock()
	kept, ok := t.unsaved[k]
	t.mu.Unlock()
	if !ok {
		return row, nil
	}
	if kept.Version > row.Version {
		var err error
		if row, err = t.save(ctx, k, row.Version, kept); err != nil {
			return row, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.unsaved, k)
	return row, nil
}
