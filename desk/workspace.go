package desk

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"tributary/ent"
	"tributary/ent/queue"
	"tributary/ent/workspace"
	"tributary/internal/gid"
	"tributary/internal/viewer"
)

// WorkspaceUpdateInput changes a workspace.
type WorkspaceUpdateInput struct {
	Name, Locale, TimeZone *string
	PriorityWeightSeconds  *int
	DefaultQueueID         *gid.ID
}

func checkZone(zone string) error {
	if _, err := time.LoadLocation(zone); err != nil || zone == "" || zone == "Local" {
		return refuse(Invalid, "a time zone is an IANA name such as Asia/Shanghai", "input", "timeZone")
	}
	return nil
}

var localeShape = regexp.MustCompile(`^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$`)

func checkLocale(s string) error {
	if len(s) > 35 || !localeShape.MatchString(s) {
		return refuse(Invalid, "a language is a BCP 47 tag such as zh-CN", "input", "locale")
	}
	return nil
}

// UpdateWorkspace changes the viewer's workspace; in force for the next decision.
func (d *Desk) UpdateWorkspace(ctx context.Context, in WorkspaceUpdateInput, ifVersion *int, key *string) (gid.ID, error) {
	if err := need(ctx, viewer.SettingWrite); err != nil {
		return gid.ID{}, err
	}
	id := viewer.From(ctx).Workspace
	return d.once(ctx, key, []any{"workspaceUpdate", in, ifVersion}, func(ctx context.Context, w *work) (gid.ID, error) {
		ws, err := w.tx.Workspace.Get(ctx, id)
		if err != nil {
			return gid.ID{}, fmt.Errorf("read workspace: %w", err)
		}
		if err := fits(ws.Version, ifVersion); err != nil {
			return id, err
		}
		u := w.tx.Workspace.UpdateOneID(id).Where(workspace.Version(ws.Version)).AddVersion(1).SetUpdatedAt(w.at)
		if err := w.workspaceChanges(ctx, u, in); err != nil {
			return id, err
		}
		n, err := u.Save(ctx)
		if ent.IsNotFound(err) {
			return id, stale()
		}
		if err != nil {
			return gid.ID{}, fmt.Errorf("save workspace: %w", err)
		}
		w.emit(fact{typ: SettingChanged, subject: id, version: n.Version})
		return id, nil
	})
}

func (w *work) workspaceChanges(ctx context.Context, u *ent.WorkspaceUpdateOne, in WorkspaceUpdateInput) error {
	if in.Name != nil {
		n, err := checkName(*in.Name, "input", "name")
		if err != nil {
			return err
		}
		u.SetName(n)
	}
	if in.Locale != nil {
		if err := checkLocale(*in.Locale); err != nil {
			return err
		}
		u.SetLocale(*in.Locale)
	}
	if in.TimeZone != nil {
		if err := checkZone(*in.TimeZone); err != nil {
			return err
		}
		u.SetTimeZone(*in.TimeZone)
	}
	if n := in.PriorityWeightSeconds; n != nil {
		if *n < 0 || *n > 86400 {
			return refuse(Invalid, "a step of priority is worth 0 to 86400 seconds", "input", "priorityWeightSeconds")
		}
		u.SetPriorityWeightSeconds(*n)
	}
	if in.DefaultQueueID != nil {
		ok, err := w.tx.Queue.Query().Where(queue.ID(*in.DefaultQueueID)).Exist(ctx)
		if err != nil {
			return fmt.Errorf("read queue: %w", err)
		}
		if !ok {
			return notFound("queue", "input", "defaultQueueId")
		}
		u.SetDefaultQueueID(*in.DefaultQueueID)
	}
	return nil
}
