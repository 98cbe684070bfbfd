import json, sys, time
sys.path.insert(0, "/work/main")
from tests.unit.evals.conftest import *
from tests.conftest import settings, _clean_environment
from evals.bench import speedup, matmul_share, growth
from evals.bench.figures import table, to_json
from rich.console import Console
def test_show(bench, said):
    t=time.time()
    out={}
    out["speedup_vs_peft_trainer"]=speedup.run(bench); t1=time.time()
    out["matmul_share"]=matmul_share.run(bench, matmul_seconds=0.05); t2=time.time()
    out["growth_100_over_10"]=growth.run(bench, sizes=(3,30)); t3=time.time()
    print(t1-t,t2-t1,t3-t2)
    print(json.dumps(to_json(out, machine={}), indent=1)); Console(width=130).print(table(out)); print("\n".join(said))
    print(torch.get_num_threads())
