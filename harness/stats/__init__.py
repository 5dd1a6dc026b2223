"""
What may be said from samples, and how large they must be.

Four kinds of question are asked of a mesh, and each has one way to be answered here.

*Is this share the one that was asked for?* (a split of 70 %, an abort of 50 %). A test for
difference would pass a mesh whenever the sample is too small to see the fault, so the burden is
turned round: `equivalence.plan` gives a sample size and a region of counts such that a mesh that is
off by `delta` is accepted with probability at most `alpha`, while a correct one is accepted with
probability `power`. The tests are exact binomial ones, one on each side. The sample size is fixed
before the first request; a second try, if any, must be independent and takes half of `alpha`.

*Does this never happen?* Zero hits in n say only that the share is below a bound:
`shares.upper_bound_of_zero`. `shares.sample_that_would_hit` is the reverse: how many requests make
it next to impossible that a host which still takes its share was missed by luck.

*What is this share?* `shares.clopper_pearson` never promises more than it holds and is the default;
`shares.wilson` is shorter and holds on average.

*How much slower, larger, busier?* Requests within one block of load are correlated, so the block is
the unit: `blocks.median` and `blocks.shift` (Hodges-Lehmann) take one value per block, and
`blocks.judge` says worse only when the interval clears what matters in practice and what the A/A
arm showed of the noise. Otherwise the answer is `inconclusive`, which is an answer.

The unit of a share is what the balancer balances: requests, or connections where those are pinned.
`shares.design_effect` over batches tells whether the unit was right: about 1 for independent draws,
below 1 for round robin, well above 1 when something larger than a request was balanced.

numpy and scipy are imported when a function needs them: they take longer to load than a check.
"""
