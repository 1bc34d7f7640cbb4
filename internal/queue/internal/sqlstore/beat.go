package sqlstore

import (
	"context"
	"slices"
	"strings"

	"wdpost/internal/queue"
	"wdpost/internal/queue/internal/schema"
	"wdpost/internal/task"
)

// beatsAtOnce bounds the tasks in one statement.
const beatsAtOnce = 100

// Heartbeat implements queue.Store: one look and one update for all beats.
func (s *Store) Heartbeat(ctx context.Context, now int64, beats []queue.Beat) (queue.Heard, error) {
	var heard queue.Heard
	err := s.Run.Once(ctx, func(ctx context.Context, q Querier) error {
		heard = queue.Heard{NotAfter: make(map[task.Lease]int64)}
		for part := range slices.Chunk(beats, beatsAtOnce) {
			if err := s.beat(ctx, q, now, part, &heard); err != nil {
				return err
			}
		}
		return nil
	})
	return heard, err
}

// beat records some of the beats.
func (s *Store) beat(ctx context.Context, q Querier, now int64, beats []queue.Beat, heard *queue.Heard) error {
	ids := make([]string, len(beats))
	for i, b := range beats {
		ids[i] = b.Lease.ID
	}
	in, args := inList(ids)
	rows, err := q.QueryContext(ctx, `SELECT `+stateOnly+` FROM `+schema.Tasks+` t WHERE t.id IN `+in, args...)
	if err != nil {
		return err
	}
	tasks, err := scanAll(rows)
	if err != nil {
		return err
	}
	stored := make(map[string]queue.Task, len(tasks))
	for _, t := range tasks {
		stored[t.ID] = t
	}
	var good []queue.Beat
	for _, b := range beats {
		t := stored[b.Lease.ID]
		if t.ID == "" || t.Attempt != b.Lease.Attempt || t.FinishedAt != 0 {
			heard.Lost = append(heard.Lost, b.Lease)
			continue
		}
		good = append(good, b)
		heard.NotAfter[b.Lease] = t.NotAfter
	}
	if len(good) == 0 {
		return nil
	}
	// What ended since the look is found lost with the next beat.
	query, args := beatUpdate(now, good, stored)
	_, err = q.ExecContext(ctx, query, args...)
	return err
}

// beatUpdate is the update of a heartbeat. Where the text of the progress but
// for its seconds is another than before, the attempt has advanced.
func beatUpdate(now int64, beats []queue.Beat, stored map[string]queue.Task) (string, []any) {
	var progress, advanced, keys []any
	for _, b := range beats {
		text := working(b.Progress)
		progress = append(progress, b.Lease.ID, text)
		if t := stored[b.Lease.ID]; t.Progress != "" && t.Progress != queue.GivenAgain && queue.Mark(t.Progress) != queue.Mark(text) {
			advanced = append(advanced, b.Lease.ID, now)
		}
		keys = append(keys, b.Lease.ID, b.Lease.Attempt)
	}
	step := ``
	if n := len(advanced) / 2; n > 0 {
		step = `, advanced_at = CASE id` + strings.Repeat(` WHEN ? THEN ?`, n) + ` ELSE advanced_at END`
	}
	return `UPDATE ` + schema.Tasks + ` SET heartbeat_at = ?, progress = ` + caseOf(len(beats)) + step + ` WHERE ` +
		anyOf(len(beats)) + ` AND finished_at IS NULL`, slices.Concat([]any{now}, progress, advanced, keys)
}
