"""flowsim: which prefill scheduler serves more requests within their TTFT SLO?"""
