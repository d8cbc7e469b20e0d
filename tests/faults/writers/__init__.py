"""A workload generator: many sessions write at once, at every isolation level, beside several billers and under faults.

`workload` has the writers' transactions, `injector` the faults, `oracle` computes from the history what each hour cost,
`services` are the real services, and `campaign` runs them together.
"""
