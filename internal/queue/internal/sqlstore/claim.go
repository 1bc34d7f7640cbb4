package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"

	"wdpost/internal/queue"
	"wdpost/internal/queue/internal/schema"
	"wdpost/internal/task"
)

// ready is the condition of tasks that can be claimed, of the table t. Its
// arguments are now and now.
const ready = `t.finished_at IS NULL AND t.started_at IS NULL AND t.not_after > ? AND t.ready_at <= ?`

// inOrder is the order in which tasks are handed out: those of which nothing
// bad is known, the earliest end of a window first.
const inOrder = ` ORDER BY t.troubles, t.not_after, t.created_at, t.id LIMIT ?`

// maxCandidates bounds the tasks looked at for one batch of claimers.
const maxCandidates = 512

// Claim implements queue.Store: one search and one update for all claimers,
// whose questions are read afterwards, by their ids.
func (s *Store) Claim(ctx context.Context, now int64, claimers []queue.Claimer) ([]queue.Task, error) {
	var out []queue.Task
	err := s.Run.Write(ctx, func(ctx context.Context, q Querier) error {
		out = make([]queue.Task, len(claimers))
		for i, c := range claimers {
			if c.Again.ID == "" {
				continue
			}
			t, err := s.giveAgain(ctx, q, now, c)
			if err != nil {
				return err
			}
			out[i] = t
		}
		return s.giveNew(ctx, q, now, claimers, out)
	})
	if err != nil {
		return nil, err
	}
	if err := s.fillBodies(ctx, out); err != nil {
		return nil, err
	}
	return out, nil
}

// fillBodies reads the questions of the tasks that were claimed. A task whose
// question is gone keeps none, and fails where it is looked at.
func (s *Store) fillBodies(ctx context.Context, tasks []queue.Task) error {
	const chunk = 8 // a question has megabytes
	byID := make(map[string]*queue.Task)
	var ids []string
	for i := range tasks {
		if tasks[i].ID != "" {
			byID[tasks[i].ID] = &tasks[i]
			ids = append(ids, tasks[i].ID)
		}
	}
	for part := range slices.Chunk(ids, chunk) {
		in, args := inList(part)
		err := s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
			rows, err := q.QueryContext(ctx, `SELECT `+liveColumns+`, `+schema.Question+live+` WHERE t.id IN `+in, args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				read, err := scan(rows, true)
				if err != nil {
					return err
				}
				t := byID[read.ID]
				t.In, t.About = read.In, read.About
			}
			return rows.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// giveNew gives ready tasks to the claimers that have none yet.
func (s *Store) giveNew(ctx context.Context, q Querier, now int64, claimers []queue.Claimer, out []queue.Task) error {
	var open []int // claimers without a task
	for i := range claimers {
		if out[i].ID == "" {
			open = append(open, i)
		}
	}
	for limit := len(open); len(open) > 0; {
		tasks, err := s.candidates(ctx, q, now, limit)
		if err != nil || len(tasks) == 0 {
			return err
		}
		if err := s.fillStores(ctx, q, claimers, tasks); err != nil {
			return err
		}
		var gives []give
		var left []int
		gives, left = match(now, claimers, open, tasks)
		taken, err := s.take(ctx, q, now, claimers, gives)
		if err != nil {
			return err
		}
		for _, g := range taken {
			out[g.claimer] = g.task
		}
		if len(taken) < len(gives) {
			continue // others were faster: look again
		}
		if len(left) == 0 || len(tasks) < limit || limit >= maxCandidates {
			return nil
		}
		// Those at the head do not suit everybody: look further.
		open, limit = left, min(4*limit+32, maxCandidates)
	}
	return nil
}

// candidates reads ready tasks in the order of handing out.
func (s *Store) candidates(ctx context.Context, q Querier, now int64, limit int) ([]queue.Task, error) {
	rows, err := q.QueryContext(ctx, `SELECT `+stateOnly+` FROM `+s.Dialect.ClaimTable+` WHERE `+ready+inOrder+s.Dialect.ClaimLock, now, now, limit)
	if err != nil {
		return nil, err
	}
	tasks, err := scanAll(rows)
	if err != nil {
		return nil, err
	}
	if !s.Run.Locks() {
		shuffleEqual(tasks)
	}
	return tasks, nil
}

// shuffleEqual mixes tasks of equal urgency, so that masters that cannot pass
// over each other's rows do not all reach for the same one.
func shuffleEqual(tasks []queue.Task) {
	for begin := 0; begin < len(tasks); {
		end := begin + 1
		for end < len(tasks) && tasks[end].NotAfter == tasks[begin].NotAfter && tasks[end].Troubles == tasks[begin].Troubles && tasks[end].CreatedAt == tasks[begin].CreatedAt {
			end++
		}
		same := tasks[begin:end]
		rand.Shuffle(len(same), func(i, j int) { same[i], same[j] = same[j], same[i] })
		begin = end
	}
}

// fillStores reads the stores of tasks, if a claimer cannot see some store.
func (s *Store) fillStores(ctx context.Context, q Querier, claimers []queue.Claimer, tasks []queue.Task) error {
	if !slices.ContainsFunc(claimers, func(c queue.Claimer) bool { return len(c.Unseen) > 0 }) {
		return nil
	}
	byID := make(map[string]*queue.Task, len(tasks))
	ids := make([]string, len(tasks))
	for i := range tasks {
		byID[tasks[i].ID], ids[i] = &tasks[i], tasks[i].ID
	}
	in, args := inList(ids)
	rows, err := q.QueryContext(ctx, `SELECT b.id, b.stores FROM `+schema.Bodies+` b WHERE b.id IN `+in, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var stores sql.NullString
		if err := rows.Scan(&id, &stores); err != nil {
			return err
		}
		byID[id].About.Stores = lines(stores.String)
	}
	return rows.Err()
}

// give is a task for a claimer, by its place in the batch.
type give struct {
	claimer int
	task    queue.Task
}

// match gives each task, in order, to the first open claimer that it suits.
func match(now int64, claimers []queue.Claimer, open []int, tasks []queue.Task) (gives []give, left []int) {
	left = slices.Clone(open)
	for _, t := range tasks {
		at := slices.IndexFunc(left, func(i int) bool { return suits(now, t, claimers[i]) })
		if at < 0 {
			continue
		}
		gives = append(gives, give{left[at], t})
		left = slices.Delete(left, at, at+1)
		if len(left) == 0 {
			break
		}
	}
	return gives, left
}

// suits reports whether a claimer gets a task now.
func suits(now int64, t queue.Task, c queue.Claimer) bool {
	if len(c.SectorSizes) > 0 && t.SectorSize != 0 && !slices.Contains(c.SectorSizes, t.SectorSize) {
		return false
	}
	since := max(t.CreatedAt, t.ReadyAt)
	if now < since+c.Handicap {
		return false
	}
	tried := slices.Contains(t.Tried, c.Slave)
	if tried && t.SettleAt != 0 {
		return false // only who has not tried it may
	}
	blind := slices.ContainsFunc(c.Unseen, func(s string) bool { return slices.Contains(t.About.Stores, s) })
	return !tried && !blind || now >= since+c.Avoid
}

// take marks the tasks as the claimers'. What others took meanwhile, where rows
// are not locked, is left out.
func (s *Store) take(ctx context.Context, q Querier, now int64, claimers []queue.Claimer, gives []give) ([]give, error) {
	if len(gives) == 0 {
		return nil, nil
	}
	if s.Run.Locks() {
		n, err := affected(s.takeAll(ctx, q, now, claimers, gives))
		if err != nil {
			return nil, err
		}
		if n != int64(len(gives)) {
			return nil, errors.New("rows that this transaction holds were changed by another")
		}
		return taken(now, claimers, gives), nil
	}
	var out []give
	for _, g := range gives {
		one := []give{g}
		n, err := affected(s.takeAll(ctx, q, now, claimers, one))
		if err != nil {
			return nil, err
		}
		if n == 1 {
			out = append(out, taken(now, claimers, one)...)
		}
	}
	return out, nil
}

// takeAll is the update of a claim, for any number of tasks.
func (s *Store) takeAll(ctx context.Context, q Querier, now int64, claimers []queue.Claimer, gives []give) (sql.Result, error) {
	slave, holder := make([]any, 0, 2*len(gives)), make([]any, 0, 2*len(gives))
	keys := make([]any, 0, 2*len(gives))
	for _, g := range gives {
		c := claimers[g.claimer]
		slave = append(slave, g.task.ID, clip(c.Slave, 100))
		holder = append(holder, g.task.ID, clip(c.ID, 32))
		keys = append(keys, g.task.ID, g.task.Attempt)
	}
	args := slices.Concat([]any{now, now}, slave, holder, keys)
	return q.ExecContext(ctx, `UPDATE `+schema.Tasks+` SET started_at = ?, heartbeat_at = ?, slave = `+caseOf(len(gives))+
		`, holder = `+caseOf(len(gives))+`, progress = NULL, advanced_at = NULL, attempt = attempt + 1 WHERE `+
		anyOf(len(gives))+` AND started_at IS NULL AND finished_at IS NULL`, args...)
}

// caseOf chooses a value by the id, for n pairs of id and value.
func caseOf(n int) string { return `CASE id` + strings.Repeat(` WHEN ? THEN ?`, n) + ` END` }

// anyOf is the condition that id and attempt are one of n pairs.
func anyOf(n int) string {
	return `(` + strings.Repeat(`id = ? AND attempt = ? OR `, n-1) + `id = ? AND attempt = ?)`
}

// taken are the tasks as they are after takeAll.
func taken(now int64, claimers []queue.Claimer, gives []give) []give {
	out := slices.Clone(gives)
	for i := range out {
		t, c := &out[i].task, claimers[out[i].claimer]
		t.State, t.StartedAt, t.HeartbeatAt, t.Slave, t.Holder, t.Progress = task.Running, now, now, c.Slave, c.ID, ""
		t.Attempt++
	}
	return out
}

// unheard is the condition that nothing was heard of a running task since it
// was given out. Its argument is queue.GivenAgain.
const unheard = `t.started_at IS NOT NULL AND t.finished_at IS NULL AND (t.progress IS NULL OR t.progress = ?)`

// Unheard implements queue.Store.
func (s *Store) Unheard(ctx context.Context, now int64) (out []queue.Task, err error) {
	err = s.Run.Read(ctx, func(ctx context.Context, q Querier) error {
		rows, err := q.QueryContext(ctx, `SELECT `+stateOnly+` FROM `+s.Dialect.ClaimTable+` WHERE `+unheard+` AND t.not_after > ?`,
			queue.GivenAgain, now)
		if err != nil {
			return err
		}
		out, err = scanAll(rows)
		return err
	})
	return out, err
}

// giveAgain gives a lease out a second time; the result has no ID if it is not
// to be had. It is had by the process that it was given to, or by another of
// the same name when the first has had time to be heard of.
func (s *Store) giveAgain(ctx context.Context, q Querier, now int64, c queue.Claimer) (queue.Task, error) {
	const where = ` WHERE t.id = ? AND t.attempt = ? AND t.slave = ? AND t.not_after > ? AND ` + unheard +
		` AND (COALESCE(t.holder, '') = ? OR t.started_at <= ?)`
	args := []any{c.Again.ID, c.Again.Attempt, c.Slave, now, queue.GivenAgain, c.ID, now - c.Elsewhere}
	// A row that is locked is not waited for: the claims of all slaves would.
	t, err := scan(q.QueryRowContext(ctx, `SELECT `+stateOnly+` FROM `+schema.Tasks+` t`+where+s.Dialect.ClaimLock, args...), false)
	if errors.Is(err, sql.ErrNoRows) {
		return queue.Task{}, nil
	}
	if err != nil {
		return queue.Task{}, err
	}
	n, err := affected(q.ExecContext(ctx, `UPDATE `+schema.Tasks+` SET heartbeat_at = ?, progress = ?, holder = ?
		WHERE id = ? AND attempt = ? AND started_at IS NOT NULL AND finished_at IS NULL AND (progress IS NULL OR progress = ?)`,
		now, queue.GivenAgain, clip(c.ID, 32), c.Again.ID, c.Again.Attempt, queue.GivenAgain))
	if err != nil || n == 0 {
		return queue.Task{}, err
	}
	t.HeartbeatAt, t.Progress, t.Holder = now, queue.GivenAgain, c.ID
	return t, nil
}
