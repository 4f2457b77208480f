// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package budget

// Lent is what pools come to that run with the connections they have: Shares with
// what they lend one another. Pods are those that a grant could serve.
func Lent(budget int32, claims []Claim, has, pods map[PoolKey]int32) map[PoolKey]int32 {
	bids := make([]*bid, 0, len(claims))
	for _, c := range claims {
		bids = append(bids, &bid{Claim: c, standing: serving, has: has[c.Key], pods: pods[c.Key]})
	}
	d := divide(budget, bids)
	d.lend()
	return d.live()
}

// Entitled is the same before anything is lent.
func Entitled(budget int32, claims []Claim) map[PoolKey]int32 {
	bids := make([]*bid, 0, len(claims))
	for _, c := range claims {
		bids = append(bids, &bid{Claim: c, standing: serving})
	}
	return divide(budget, bids).live()
}
