"""The clairvoyant bound: how many requests any scheduler could serve within their SLO, knowing all that is to come.

`demand` says what each request needs at least, `schedulable` how much of that fits into the time there is, `oracle`
is a scheduler that knows the answer, and `bound` puts them together.
"""
