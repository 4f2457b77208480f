// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package queryplan

import "slices"

// split divides a statement's pieces so that each part keeps to maxChunk parameters. It
// divides the one that has the most, if that is enough; else it leaves them whole.
func (x *execution) split(pieces []piece) ([][]piece, error) {
	total, largest := 0, 0
	for i := range pieces {
		count := pieces[i].count()
		total, largest = total+count, max(largest, count)
	}
	whole := [][]piece{pieces}
	if total <= maxChunk {
		return whole, nil
	}
	for i := range pieces {
		if pieces[i].count() != largest {
			continue
		}
		parts := pieces[i].divide(maxChunk - (total - largest))
		if len(parts) < 2 {
			continue
		}
		if err := x.spend(len(parts) * len(pieces)); err != nil {
			return nil, err
		}
		chunks := make([][]piece, len(parts))
		for j, part := range parts {
			chunks[j] = slices.Clone(pieces)
			chunks[j][i] = part
		}
		return chunks, nil
	}
	return whole, nil
}

// divide splits a tuple, or tuples, into pieces of so many parameters.
func (p *piece) divide(room int) []piece {
	var parts []piece
	switch p.kind {
	case "parameterTuple":
		if room <= 0 {
			return nil
		}
		for values := range slices.Chunk(p.values, room) {
			parts = append(parts, piece{fragment: p.fragment, arg: p.arg, values: values})
		}
	case "parameterTupleList":
		begun, count := 0, 0
		for i, tuple := range p.tuples {
			if i > begun && count+len(tuple) > room {
				parts = append(parts, piece{fragment: p.fragment, arg: p.arg, tuples: p.tuples[begun:i]})
				begun, count = i, 0
			}
			count += len(tuple)
		}
		parts = append(parts, piece{fragment: p.fragment, arg: p.arg, tuples: p.tuples[begun:]})
	}
	return parts
}
